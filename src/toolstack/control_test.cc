#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "toolstack/control_client.h"
#include "toolstack/control_server.h"
#include "toolstack/keeper_service.h"
#include "toolstack/process.h"
#include "toolstack/unix_socket.h"

namespace xenopolis::toolstack {
namespace {

class ControlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string directory = ::testing::TempDir() + "control-XXXXXX";
    ASSERT_NE(mkdtemp(directory.data()), nullptr);
    directory_ = directory;
    path_ = directory_ + "/socket";
    server_ =
        ControlServer::listen(loop_, path_, [this](ControlServer::ClientId client, const nlohmann::json& request) {
          handle(client, request);
        }).value();
    client_ = ControlClient::connect(loop_, path_, 0).value();
  }
  void TearDown() override {
    client_.reset();
    server_.reset();
    rmdir(directory_.c_str());
  }

  void handle(ControlServer::ClientId client, const nlohmann::json& request) {
    const std::string op = request["op"];
    if (op == "echo") server_->reply(client, request, {{"text", request.at("text")}});
    if (op == "number") server_->reply(client, request, {{"number", request.at("number").get<int>() + 1}});
    if (op == "refuse") server_->refuse(client, request, Error{ENOENT, "no such thing"});
    if (op == "subscribe") {
      server_->subscribe(client);
      server_->reply(client, request, nlohmann::json::object());
      server_->publish({{"event", "news"}});
    }
    if (op == "hold") held_.emplace_back(client, request);
    if (op == "long") server_->reply(client, request, {{"text", std::string(kLongAnswer, 'x')}});
    handled_.push_back(client);
  }

  // So many requests of one client, who reads nothing yet.
  Fd client_with_requests(const std::string& request, size_t count) {
    Fd socket = connect_unix(path_, SOCK_STREAM, 0).value();
    std::string all;
    for (size_t i = 0; i < count; ++i) all += request + "\n";
    EXPECT_EQ(send(socket.get(), all.data(), all.size(), MSG_DONTWAIT | MSG_NOSIGNAL),
              static_cast<ssize_t>(all.size()));
    return socket;
  }
  // As long as the server has something to do.
  void settle() {
    for (int turn = 0; turn < 200; ++turn) ASSERT_TRUE(loop_.run_once(0));
  }

  // Sends raw bytes as a client without manners and returns the line that comes back; empty: disconnected.
  std::string raw(const std::string& bytes) {
    const Fd socket = connect_unix(path_, SOCK_STREAM, 0).value();
    EXPECT_EQ(send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    std::string answer;
    for (int turn = 0; turn < 20; ++turn) {
      EXPECT_TRUE(loop_.run_once(10));
      char buffer[4096];
      const ssize_t got = recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (got == 0) return "";
      if (got > 0) answer.append(buffer, static_cast<size_t>(got));
      if (answer.find('\n') != std::string::npos) break;
    }
    return answer;
  }

  EventLoop loop_ = EventLoop::create().value();
  std::string directory_;
  std::string path_;
  std::unique_ptr<ControlServer> server_;
  std::unique_ptr<ControlClient> client_;
  std::vector<std::pair<ControlServer::ClientId, nlohmann::json>> held_;
  std::vector<ControlServer::ClientId> handled_;
  static constexpr size_t kLongAnswer = 256 * 1024;
};

TEST_F(ControlTest, AnswerComesBackToItsRequest) {
  EXPECT_EQ(client_->ask({{"op", "echo"}, {"text", "hello"}}).value()["text"], "hello");
}

TEST_F(ControlTest, RefusalCarriesErrnoAndReason) {
  const auto answer = client_->ask({{"op", "refuse"}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ENOENT);
  EXPECT_EQ(answer.error().what, "no such thing");
}

TEST_F(ControlTest, AnswersMayComeInAnotherOrder) {
  std::vector<int> order;
  client_->request({{"op", "hold"}}, [&](const auto&) { order.push_back(1); });
  client_->request({{"op", "hold"}}, [&](const auto&) { order.push_back(2); });
  while (held_.size() < 2) ASSERT_TRUE(loop_.run_once(100));
  server_->reply(held_[1].first, held_[1].second, nlohmann::json::object());
  server_->reply(held_[0].first, held_[0].second, nlohmann::json::object());
  while (order.size() < 2) ASSERT_TRUE(loop_.run_once(100));
  EXPECT_EQ(order, (std::vector<int>{2, 1}));
}

TEST_F(ControlTest, SubscriberHearsEvents) {
  std::string heard;
  client_->on_event([&](const nlohmann::json& event) { heard = event["event"]; });
  ASSERT_TRUE(client_->ask({{"op", "subscribe"}}));
  while (heard.empty()) ASSERT_TRUE(loop_.run_once(100));
  EXPECT_EQ(heard, "news");
}

TEST_F(ControlTest, MalformedRequestsAreRefusedAndTheClientStays) {
  for (const char* bytes : {"garbage\n", "[]\n", "{\"op\":3}\n", "{}\n", "\n", "{\"op\":\"number\",\"number\":\"x\"}\n",
                            "{\"op\":\"number\"}\n", "\xff\xfe\n"}) {
    const nlohmann::json answer = nlohmann::json::parse(raw(bytes), nullptr, false);
    EXPECT_EQ(answer.value("ok", true), false) << bytes;
  }
  EXPECT_EQ(client_->ask({{"op", "number"}}).error().what, "key 'number' not found");
  EXPECT_EQ(client_->ask({{"op", "number"}, {"number", 1}}).value()["number"], 2);
}

TEST_F(ControlTest, EndlessLineIsCutOff) {
  EXPECT_EQ(raw(std::string(200 * 1024, 'x')), "");
  EXPECT_TRUE(client_->ask({{"op", "echo"}, {"text", "still here"}}));
}

TEST_F(ControlTest, DeeplyNestedRequestsAreRefused) {
  constexpr size_t kDepth = 30'000;
  const std::string nested = std::string(kDepth, '[') + std::string(kDepth, ']');
  const nlohmann::json answer = nlohmann::json::parse(raw(R"({"op":"refuse","id":)" + nested + "}\n"), nullptr, false);
  EXPECT_EQ(answer.value("errno", 0), EINVAL);
  EXPECT_TRUE(client_->ask({{"op", "echo"}, {"text", "still here"}}));
  EXPECT_EQ(handled_.size(), 1u);
}

TEST_F(ControlTest, WhoDoesNotReadIsNotHeardAndWhoReadsGetsAll) {
  constexpr size_t kRequests = 12;
  const Fd socket = client_with_requests(R"({"op":"long"})", kRequests);
  settle();
  EXPECT_LE(handled_.size(), ControlServer::kMaxUnread / kLongAnswer + 2) << "one in the socket";
  EXPECT_TRUE(client_->ask({{"op", "echo"}, {"text", "still here"}}));
  size_t lines = 0;
  std::vector<char> buffer(1024 * 1024);
  while (lines < kRequests) {
    ASSERT_TRUE(loop_.run_once(0));
    const ssize_t got = recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    ASSERT_NE(got, 0) << "disconnected after " << lines;
    if (got > 0) lines += static_cast<size_t>(std::count(buffer.begin(), buffer.begin() + got, '\n'));
  }
}

TEST_F(ControlTest, WhoWaitsForTooManyAnswersIsHeardWhenTheyHaveCome) {
  const size_t more = ControlServer::kMaxUnanswered + 10;
  const Fd socket = client_with_requests(R"({"op":"hold"})", more);
  for (int turn = 0; turn < 2000; ++turn) ASSERT_TRUE(loop_.run_once(0));
  ASSERT_EQ(held_.size(), ControlServer::kMaxUnanswered);
  EXPECT_TRUE(client_->ask({{"op", "echo"}, {"text", "still here"}}));
  for (size_t i = 0; i < 10; ++i) server_->refuse(held_[i].first, held_[i].second, Error{EIO, "late"});
  settle();
  EXPECT_EQ(held_.size(), more);
}

TEST_F(ControlTest, ManyRequestsOfOneDoNotHoldUpAnother) {
  const Fd many = client_with_requests(R"({"op":"echo","text":""})", 500);
  settle();
  handled_.clear();
  const Fd again = client_with_requests(R"({"op":"echo","text":""})", 500);
  const Fd one = client_with_requests(R"({"op":"echo","text":""})", 1);
  settle();
  ASSERT_EQ(handled_.size(), 501u);
  EXPECT_NE(handled_.back(), *std::max_element(handled_.begin(), handled_.end())) << "the youngest client was last";
}

TEST_F(ControlTest, OneClientTooManyIsTold) {
  rlimit descriptors{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &descriptors), 0);
  descriptors.rlim_cur = descriptors.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &descriptors), 0);
  std::vector<Fd> clients;
  while (clients.size() < ControlServer::kMaxClients - 1) {
    clients.push_back(connect_unix(path_, SOCK_STREAM, 0).value());
    ASSERT_TRUE(loop_.run_once(0));
  }
  const auto late = ControlClient::connect(loop_, path_, 0).value();
  const auto answer = late->ask({{"op", "echo"}, {"text", "too late"}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, EUSERS);
  clients.clear();
  settle();
  EXPECT_TRUE(ControlClient::connect(loop_, path_, 0).value()->ask({{"op", "echo"}, {"text", "now"}}));
}

TEST_F(ControlTest, RequestsUnderWayFailWhenTheServerGoes) {
  std::optional<int> error;
  client_->request({{"op", "hold"}}, [&](const auto& answer) { error = answer.error().code; });
  while (held_.empty()) ASSERT_TRUE(loop_.run_once(100));
  server_.reset();
  while (!error) ASSERT_TRUE(loop_.run_once(100));
  EXPECT_EQ(*error, EPIPE);
}

TEST_F(ControlTest, SecondServerOnTheSamePathIsRefused) {
  const auto second = ControlServer::listen(loop_, path_, [](auto, const auto&) {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EADDRINUSE);
}

TEST(ProcessTest, ChildGetsItsDescriptorsInOrderWhateverTheirNumbers) {
  int first[2];
  int second[2];
  ASSERT_EQ(pipe(first), 0);
  ASSERT_EQ(pipe(second), 0);
  // Descriptors 3 and 4 of the child; both numbers are likely in use here, for other things.
  auto child = Process::spawn("/bin/sh", {"-c", "echo third >&3; echo fourth >&4"}, {second[1], first[1]});
  ASSERT_TRUE(child);
  char buffer[16] = {};
  ASSERT_GT(read(second[0], buffer, sizeof buffer), 0);
  EXPECT_STREQ(buffer, "third\n");
  std::memset(buffer, 0, sizeof buffer);
  ASSERT_GT(read(first[0], buffer, sizeof buffer), 0);
  EXPECT_STREQ(buffer, "fourth\n");
  EXPECT_EQ(child->reap(), "exited with status 0");
  for (const int fd : {first[0], first[1], second[0], second[1]}) close(fd);
}

TEST(ProcessTest, KillingSignalIsTold) {
  auto child = Process::spawn("/bin/sleep", {"30"}, {});
  ASSERT_TRUE(child);
  child->signal(SIGKILL);
  EXPECT_EQ(child->reap(), "was killed by signal 9 (Killed)");
}

TEST(ProcessTest, MissingProgramIsAnError) {
  const auto child = Process::spawn("/nonexistent/program", {}, {});
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code, ENOENT);
}

// What polis-keeper answers to a polisd that wants `program` started.
bool keeper_answers(const std::string& program, const std::string& expected) {
  const pid_t keeper = fork();
  if (keeper == 0) {
    // The line is non-blocking.
    const std::string script = R"(printf 'spawn\0key\0000\0)" + program + R"(\0' >&3
        while [ -z "$answer" ]; do answer=$(dd bs=200 count=1 <&3 2>/dev/null | tr '\0' ' '); done
        case $answer in ")" + expected +
                               R"("*) exit 0;; esac; exit 1)";
    _exit(keep_host({.polisd = "/bin/sh", .arguments = {"-c", script}}));
  }
  int status = 0;
  waitpid(keeper, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(KeeperTest, OnlyTheHostsOwnProgramsAreStarted) {
  EXPECT_TRUE(keeper_answers("/bin/true", "error 13 "));
  EXPECT_TRUE(keeper_answers("/tmp/polis-cell", "error 13 "));
  EXPECT_TRUE(keeper_answers("/bin/polis-cell", "error 2 ")) << "one that is missing";
}

TEST(ProcessTest, ExitStatusIsTold) {
  auto child = Process::spawn("/bin/sh", {"-c", "exit 3"}, {});
  ASSERT_TRUE(child);
  EXPECT_EQ(child->reap(), "exited with status 3");
}

}  // namespace
}  // namespace xenopolis::toolstack
