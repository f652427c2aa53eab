// Consoles as Xen's own clients use them: Debian's xenconsole on a terminal, against polisd and its daemons.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <optional>

#include "base/clock.h"
#include "kvm_requirement.h"
#include "live_host.h"
#include "toolstack/xenstore_client.h"
#include "xenconsole_process.h"

namespace xenopolis::toolstack {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using xenopolis::testing::XenconsoleProcess;

constexpr int kPatienceMs = 15'000;
constexpr const char* kLeave = "\x1d";                                  // Ctrl-]
constexpr const char* kGrub = "/usr/lib/grub-xen/grub-x86_64-xen.bin";  // Debian package grub-xen-host

class ConsoleTerminalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!XenconsoleProcess::is_installed()) GTEST_SKIP() << "xenconsole is missing (package xen-utils-4.17)";
    // xenconsole locks a file for each domain number, whose host that may be: one of these tests at a time.
    alone_ = Fd(open("/tmp/xenopolis-xenconsole.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (alone_) flock(alone_.get(), LOCK_EX);
  }

  void start_host(const std::string& backend = "hosted") {
    host_.emplace(std::vector<std::string>{"--backend", backend});
    xenstore_ = XenstoreClient::connect(host_->loop(), socket_path(), kPatienceMs).value();
  }
  std::string socket_path() const { return host_->directory() + "/xenstored.sock"; }
  DomId create(const std::string& guest, const nlohmann::json& more = nlohmann::json::object()) {
    const auto created = host_->create("guest", guest, more);
    EXPECT_TRUE(created) << created.error().message();
    return created ? *created : DomId{0};
  }
  DomId create_echo(uint32_t consoles = 0) {
    start_host();
    return create("echo", {{"consoles", consoles}});
  }
  std::unique_ptr<XenconsoleProcess> xenconsole(DomId domid, std::vector<std::string> options = {}) {
    options.push_back(std::to_string(domid));
    return std::make_unique<XenconsoleProcess>(socket_path(), std::move(options),
                                               [this] { (void)host_->loop().run_once(0); });
  }
  std::string read_node(const std::string& path) {
    std::optional<std::string> value;
    xenstore_->read(path, [&](const Result<std::string>& answer) { value = answer ? *answer : "none"; });
    while (!value) EXPECT_TRUE(host_->loop().run_once(100));
    return *value;
  }
  // As any client that does not come from Xen: watches the node that names the terminal, and opens what it says.
  Fd open_terminal(const std::string& tty) {
    xenstore_->watch(tty, "own");
    std::string path;
    EXPECT_TRUE(host_->await([&] { return !(path = read_node(tty)).empty(); }));
    Fd terminal(open(path.c_str(), O_RDWR | O_NOCTTY));
    EXPECT_TRUE(terminal) << path;
    return terminal;
  }
  bool node_becomes(const std::string& path, const std::string& wanted) {
    return host_->await([&] { return read_node(path) == wanted; });
  }
  pid_t consoled() { return host_->pid_of("polis-consoled"); }
  // Of a process.
  size_t descriptors_of_terminals(pid_t pid) {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
      std::error_code ignored;
      count += std::filesystem::read_symlink(entry, ignored) == "/dev/ptmx" ||
               std::filesystem::read_symlink(entry, ignored) == "/dev/pts/ptmx";
    }
    return count;
  }

  Fd alone_;
  std::optional<testing::LiveHost> host_;
  std::unique_ptr<XenstoreClient> xenstore_;
};

TEST_F(ConsoleTerminalTest, RealClientAttachesTalksAndLeaves) {
  const DomId domid = create_echo();
  const std::string tty = "/local/domain/" + std::to_string(domid) + "/console/tty";
  EXPECT_EQ(read_node(tty), "");
  EXPECT_EQ(descriptors_of_terminals(consoled()), 0u) << "nobody has asked";
  for (int time = 0; time < 2; ++time) {
    const auto client = xenconsole(domid);
    EXPECT_THAT(client->read_until("ready\r\n"), EndsWith("ready\r\n"));
    EXPECT_THAT(read_node(tty), HasSubstr("/dev/pts/"));
    // Not what the past that is shown first has too: Ctrl-] has to come alone.
    const std::string word = "hello" + std::to_string(time);
    client->type(word + "\r");
    EXPECT_THAT(client->read_until("you said: " + word + "\r\n"), EndsWith("you said: " + word + "\r\n"));
    client->type(kLeave);
    EXPECT_EQ(client->wait(), 0);
    EXPECT_TRUE(node_becomes(tty, "")) << "nobody looks";
  }
}

TEST_F(ConsoleTerminalTest, FloodArrivesWhole) {
  const DomId domid = create_echo();
  const auto client = xenconsole(domid);
  client->read_until("ready\r\n");
  client->type("count 2000\r");
  const std::string seen = client->read_until("line 2000\r\n");
  for (int i = 1; i <= 2000; ++i) {
    ASSERT_THAT(seen, HasSubstr("line " + std::to_string(i) + "\r\n"));
  }
}

// xenconsole itself allows one client for a domain at a time, by a lock.
TEST_F(ConsoleTerminalTest, SecondConsoleClosesAndOpensAnew) {
  const DomId domid = create_echo(1);
  const std::string home = "/local/domain/" + std::to_string(domid);
  const std::string frontend = home + "/device/console/1";
  const std::string backend = read_node(frontend + "/backend");
  EXPECT_EQ(read_node(backend + "/frontend"), frontend);
  ASSERT_TRUE(node_becomes(backend + "/state", "4"));
  const Fd first = open_terminal(home + "/console/tty");
  auto second = xenconsole(domid, {"--num", "1"});
  EXPECT_THAT(second->read_until("second console\r\n"), EndsWith("second console\r\n"));
  second->type("there\r");
  EXPECT_THAT(second->read_until("you said: there\r\n"), EndsWith("you said: there\r\n"));

  ASSERT_EQ(write(first.get(), "close\r", 6), 6);
  EXPECT_EQ(second->wait(), 0) << "its terminal is gone";
  ASSERT_TRUE(node_becomes(backend + "/state", "2"));
  EXPECT_EQ(read_node(frontend + "/tty"), "");

  // Asked for before it is there.
  second = xenconsole(domid, {"--num", "1"});
  ASSERT_EQ(write(first.get(), "open\r", 5), 5);
  EXPECT_EQ(second->read_until("second console\r\n"), "second console\r\n");
  second->type("again\r");
  EXPECT_THAT(second->read_until("you said: again\r\n"), EndsWith("you said: again\r\n"));
}

TEST_F(ConsoleTerminalTest, ClientGoesOnWhenTheDaemonIsKilled) {
  const DomId domid = create_echo();
  const auto client = xenconsole(domid);
  client->read_until("ready\r\n");
  for (int time = 0; time < 3; ++time) {
    const pid_t before = consoled();
    ASSERT_NE(before, 0);
    kill(before, SIGKILL);
    ASSERT_TRUE(host_->await([&] { return consoled() != before; }));
    // What is typed before the new terminal is there is lost, as on a line that was cut. It begins with the past.
    EXPECT_THAT(client->read_until("ready\r\n"), EndsWith("ready\r\n"));
    const std::string word = "word" + std::to_string(time);
    client->type(word + "\r");
    EXPECT_THAT(client->read_until("you said: " + word + "\r\n"), EndsWith("you said: " + word + "\r\n"));
  }
}

TEST_F(ConsoleTerminalTest, ClientSeesTheLastWordsAndEndsWithTheDomain) {
  const DomId domid = create_echo();
  const auto client = xenconsole(domid);
  client->read_until("ready\r\n");
  client->type("quit\r");
  EXPECT_THAT(client->read_until("bye\r\n"), EndsWith("bye\r\n"));
  EXPECT_EQ(client->wait(), 0);
  EXPECT_EQ(read_node("/local/domain/" + std::to_string(domid) + "/console/tty"), "none");
}

// As for polis-xenstored: what dies at once, however often it is started, will not get better.
TEST_F(ConsoleTerminalTest, DaemonThatDiesAgainAndAgainEndsTheHost) {
  start_host();
  int deaths = 0;
  for (pid_t last = 0; deaths < 50;) {
    const auto info = host_->ask({{"op", "info"}});
    if (!info) break;
    const pid_t consoled = info->at("processes").at("polis-consoled");
    if (consoled == last || consoled == 0) continue;
    kill(consoled, SIGKILL);
    last = consoled;
    ++deaths;
  }
  EXPECT_EQ(deaths, 11);
  EXPECT_EQ(host_->await_end(), "exited with status 1");
}

// Dom0 writes here what a hostile guest would, in a guest that leaves its second console alone.
TEST_F(ConsoleTerminalTest, NonsenseOfAFrontendIsRefused) {
  start_host();
  const DomId domid = create("citizen", {{"consoles", 1}});
  const std::string frontend = "/local/domain/" + std::to_string(domid) + "/device/console/1";
  const std::string backend = read_node(frontend + "/backend");
  const std::vector<std::array<const char*, 3>> nonsense{
      {"banana", "1", "3"},  {"8", "", "4"},   {"-1", "1", "3"}, {"8", "4294967296", "4"}, {"4000000000", "70000", "3"},
      {"8", "70000", "4"},   {"0", "1", "3"},  {"8", "2", "3"},  {"8", "0", "4"},          {"8", "3", "99"},
      {"8", "3", "connect"}, {"8", "3", "-4"}, {"", "", ""}};
  for (const auto& [ring_ref, port, state] : nonsense) {
    xenstore_->write(frontend + "/ring-ref", ring_ref);
    xenstore_->write(frontend + "/port", port);
    xenstore_->write(frontend + "/state", state);
    EXPECT_EQ(read_node(backend + "/state"), "2");
  }
  // The host goes on, and what is attached can be detached.
  xenstore_->write(frontend + "/state", "6");
  EXPECT_TRUE(node_becomes(backend + "/state", "6"));
  xenstore_->remove(frontend);
  xenstore_->remove(backend);
  EXPECT_TRUE(host_->ask({{"op", "destroy"}, {"domid", domid}}));
  EXPECT_EQ(read_node("/local/domain/0/backend/console/" + std::to_string(domid)), "none");
}

TEST_F(ConsoleTerminalTest, MoreConsolesThanThereMayBeAreRefused) {
  start_host();
  const auto refused = host_->create("guest", "echo", {{"consoles", 10}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EINVAL);
}

// GRUB draws its menu anew for each key, and the screen's width of blanks lies between an entry and the next.
TEST_F(ConsoleTerminalTest, GrubsMenuObeysTheKeys) {
  REQUIRE_KVM_OR_SKIP();
  if (access(kGrub, R_OK) != 0) GTEST_SKIP() << kGrub << " is missing (package grub-xen-host)";
  start_host("kvm");
  const DomId domid = create("", {{"image", kGrub}, {"memory_mib", 32}});
  const auto client = xenconsole(domid);
  ASSERT_THAT(client->read_until("grub> "), EndsWith("grub> "));
  client->type("echo $grub_cpu-$grub_platform\r");
  ASSERT_THAT(client->read_until("x86_64-xen\n\rgrub> "), EndsWith("x86_64-xen\n\rgrub> "));
  // Entries of our own, and GRUB's own configuration, which finds no disk and leaves the menu to them.
  client->type("menuentry one { echo chose-$chosen; sleep 60; }\r");
  client->read_until("grub> ");
  client->type("menuentry two { echo chose-$chosen; sleep 60; }\r");
  client->read_until("grub> ");
  client->type("normal (memdisk)/grub.cfg\r");
  ASSERT_THAT(client->read_until("*one "), EndsWith("*one "));
  client->type("\x1b[B");
  ASSERT_THAT(client->read_until("*two "), EndsWith("*two "));
  client->type("\r");
  EXPECT_THAT(client->read_until("chose-two"), EndsWith("chose-two"));
}

}  // namespace
}  // namespace xenopolis::toolstack
