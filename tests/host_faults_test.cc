// What a host survives: its processes killed, under a thousand running domains.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "base/clock.h"
#include "domain/registry.h"
#include "live_host.h"

namespace xenopolis {
namespace {

using nlohmann::json;
using testing::LiveHost;

constexpr unsigned kDomains = 1000;
constexpr unsigned kWindow = 16;

// That all of them beat within a while.
template <class Domids>
void expect_beats(LiveHost& host, const Domids& domids, const std::string& when) {
  std::map<DomId, uint64_t> before;
  for (const DomId domid : domids) before[domid] = domain::record_of(domid).hypercalls.load();
  EXPECT_TRUE(host.await([&] {
    std::erase_if(before, [](const auto& was) { return domain::record_of(was.first).hypercalls.load() > was.second; });
    return before.empty();
  })) << before.size()
      << " domains do not beat " << when;
}

// With domains that beat every 100 ms.
class HostFaultsTest : public ::testing::Test {
 protected:
  void fill() {
    unsigned asked = 0, under_way = 0;
    EXPECT_TRUE(host_.await([&] {
      for (; asked < kDomains && under_way < kWindow; ++asked, ++under_way) {
        host_.control().request({{"op", "create"},
                                 {"name", "citizen-" + std::to_string(asked)},
                                 {"image", XENOPOLIS_GUEST_DIR "/citizen"},
                                 {"command_line", "beat_ms=100"}},
                                [&](const Result<json>& answer) {
                                  --under_way;
                                  ASSERT_TRUE(answer) << answer.error().message();
                                  domids_.insert(answer->at("domid").get<DomId>());
                                });
      }
      return asked == kDomains && under_way == 0;
    }));
    ASSERT_EQ(domids_.size(), kDomains);
    host_.machine();
  }

  void expect_all_beat(const std::string& when) { expect_beats(host_, domids_, when); }
  std::set<DomId> running() {
    std::set<DomId> all;
    for (const json& domain : host_.list()) {
      if (domain.at("state") == "running") all.insert(domain.at("domid").get<DomId>());
    }
    return all;
  }

  std::vector<pid_t> all_processes() {
    const json processes = host_.ask({{"op", "info"}})->at("processes");
    auto pids = processes.at("cells").get<std::vector<pid_t>>();
    for (const char* name : {"polis-keeper", "polisd", "polis-xenstored", "polis-consoled"}) {
      pids.push_back(processes.at(name));
    }
    return pids;
  }
  // One more comes up, and the others go on.
  void expect_all_well(const std::string& when) {
    expect_all_beat(when);
    const auto created = host_.create("one-more", "citizen");
    ASSERT_TRUE(created) << when << ": " << created.error().message();
    EXPECT_EQ(running().size(), domids_.size() + 1) << when;
    EXPECT_TRUE(host_.ask({{"op", "destroy"}, {"domid", *created}})) << when;
  }

  LiveHost host_;
  std::set<DomId> domids_;
};

TEST_F(HostFaultsTest, GuestsDoNotNoticeThatPolisdIsKilled) {
  fill();
  host_.kill_polisd();
  expect_all_beat("without polisd");
  host_.connect();
  EXPECT_EQ(running(), domids_);
  EXPECT_EQ(host_.ask({{"op", "info"}})->at("polisd_starts"), 2);
  expect_all_beat("with the next polisd");

  // The next one does all that the first one did, with old domains and new ones.
  const DomId old = *domids_.begin();
  ASSERT_TRUE(host_.ask({{"op", "pause"}, {"domid", old}}));
  ASSERT_TRUE(host_.ask({{"op", "unpause"}, {"domid", old}}));
  ASSERT_TRUE(host_.ask({{"op", "destroy"}, {"domid", old}}));
  domids_.erase(old);
  const auto created = host_.create("late", "citizen", {{"command_line", "beat_ms=100"}});
  ASSERT_TRUE(created) << created.error().message();
  domids_.insert(*created);
  expect_all_beat("and new ones");
  const DomId second = *domids_.begin();
  ASSERT_TRUE(host_.ask({{"op", "shutdown"}, {"domid", second}, {"reason", "reboot"}}));
  EXPECT_TRUE(host_.await([&] { return !running().contains(second) && running().size() == kDomains; }))
      << "a domain that a polisd before this one has created reboots";
  EXPECT_NE(host_.shell("xenstore-ls /local/domain/" + std::to_string(*created)).find("name = \"late\""),
            std::string::npos);
}

TEST_F(HostFaultsTest, DaemonsAreStartedAgainAndADeadCellTakesItsDomainsOnly) {
  fill();
  for (const char* daemon : {"polis-xenstored", "polis-consoled"}) {
    const pid_t pid = host_.pid_of(daemon);
    ASSERT_EQ(kill(pid, SIGKILL), 0);
    EXPECT_TRUE(host_.await([&] { return host_.pid_of(daemon) != pid; })) << daemon;
  }
  expect_all_beat("after the daemons' ends");
  ASSERT_EQ(running(), domids_);
  // The next polisd finds daemons that are dead, or that have not finished dying.
  for (const char* daemon : {"polis-xenstored", "polis-consoled"}) {
    ASSERT_EQ(kill(host_.pid_of(daemon), SIGKILL), 0);
    host_.kill_polisd();
    host_.connect();
    ASSERT_EQ(running(), domids_) << daemon << " and polisd at once";
  }
  expect_all_well("after the ends of two at once");
  ASSERT_EQ(kill(host_.pid_of("polis-cell"), SIGKILL), 0);
  EXPECT_TRUE(host_.await([&] { return host_.list().size() < kDomains; }));
  const std::set<DomId> left = running();
  EXPECT_GE(left.size(), kDomains - 64);
  EXPECT_LT(left.size(), kDomains);
  domids_ = left;
  expect_all_beat("after the cell's end");
}

TEST_F(HostFaultsTest, WithoutDescriptorsThereAreNoNewCellsAndWithThemThereAre) {
  fill();
  const pid_t keeper = host_.pid_of("polis-keeper");
  rlimit before{};
  ASSERT_EQ(prlimit(keeper, RLIMIT_NOFILE, nullptr, &before), 0);
  const rlimit few{10, before.rlim_max};
  ASSERT_EQ(prlimit(keeper, RLIMIT_NOFILE, &few, nullptr), 0);
  // Into the cells that there are, then no further.
  std::vector<DomId> more;
  Result<DomId> created = DomId{0};
  while (more.size() < 200 && (created = host_.create("more-" + std::to_string(more.size()), "citizen"))) {
    more.push_back(*created);
  }
  ASSERT_FALSE(created);
  EXPECT_EQ(created.error().code, EMFILE) << created.error().message();
  expect_all_beat("without descriptors");
  ASSERT_EQ(prlimit(keeper, RLIMIT_NOFILE, &before, nullptr), 0);
  for (const DomId domid : more) ASSERT_TRUE(host_.ask({{"op", "destroy"}, {"domid", domid}}));
  expect_all_well("with descriptors");
}

// As for a host that was suspended, or whose machine was.
TEST_F(HostFaultsTest, TimeThatPassesUnnoticedEndsNothing) {
  fill();
  const std::vector<pid_t> processes = all_processes();
  for (const pid_t pid : processes) ASSERT_EQ(kill(pid, SIGSTOP), 0);
  const uint64_t end = MonotonicClock().now_ns() + 1'000'000'000;
  while (MonotonicClock().now_ns() < end) (void)host_.loop().run_once(50);
  for (const pid_t pid : processes) ASSERT_EQ(kill(pid, SIGCONT), 0);
  expect_all_well("after a second that was lost");
  EXPECT_EQ(running(), domids_);
}

// A daemon that hangs keeps nobody waiting for ever. Cells are left alone: with one its domains would end.
TEST(HostPatienceTest, DaemonThatDoesNotAnswerIsStartedAgain) {
  LiveHost host({"--patience", "1"});
  for (const char* daemon : {"polis-xenstored", "polis-consoled"}) {
    const pid_t pid = host.pid_of(daemon);
    ASSERT_EQ(kill(pid, SIGSTOP), 0);
    const auto created = host.create(daemon, "citizen");
    EXPECT_TRUE(created) << created.error().message();
    EXPECT_NE(host.pid_of(daemon), pid);
  }
  const pid_t cell = host.pid_of("polis-cell");
  ASSERT_EQ(kill(cell, SIGSTOP), 0);
  bool is_destroyed = false;
  for (const json& domain : host.list()) {
    host.control().request({{"op", "destroy"}, {"domid", domain.at("domid")}},
                           [&](const Result<json>& answer) { is_destroyed = answer.has_value(); });
  }
  const uint64_t end = MonotonicClock().now_ns() + 2'500'000'000;
  while (MonotonicClock().now_ns() < end) (void)host.loop().run_once(50);
  EXPECT_EQ(host.pid_of("polis-cell"), cell);
  ASSERT_EQ(kill(cell, SIGCONT), 0);
  EXPECT_TRUE(host.await([&] { return is_destroyed && host.list().empty(); }));
}

bool is_alive(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string line;
  while (std::getline(status, line) && !line.starts_with("State:")) {
  }
  return line.starts_with("State:") && line.find('Z') == std::string::npos;
}

// Without polis-keeper there is no host: nothing of it is in the next one's way.
TEST(HostKeeperTest, AllEndsWithTheKeeperAndTheNextHostTakesThePlace) {
  const testing::TemporaryDirectory directory;
  std::vector<pid_t> pids;
  {
    LiveHost host({"--run-dir", directory.path()});
    for (int i = 0; i < 8; ++i) ASSERT_TRUE(host.create("d-" + std::to_string(i), "citizen"));
    for (const char* name : {"polis-keeper", "polisd", "polis-xenstored", "polis-consoled", "polis-cell"}) {
      pids.push_back(host.pid_of(name));
    }
    ASSERT_EQ(kill(pids[0], SIGKILL), 0);
  }
  LiveHost next({"--run-dir", directory.path()});
  EXPECT_TRUE(next.create("again", "citizen"));
  EXPECT_TRUE(next.await([&] { return std::none_of(pids.begin(), pids.end(), is_alive); }));
}

// on_crash = "rename-restart": what has crashed stays as it is, under another name, and another takes its place.
TEST(HostEndActionTest, WhatHasCrashedIsKeptUnderAnotherNameBesideItsSuccessor) {
  LiveHost host({"--most-kills", "1000"});
  const DomId first =
      host.create("web", "citizen", {{"on_poweroff", "rename-restart"}, {"command_line", "beat_ms=50"}}).value();
  const std::string uuid = host.ask({{"op", "domain"}, {"domid", first}})->at("uuid");
  ASSERT_TRUE(host.ask({{"op", "shutdown"}, {"domid", first}, {"reason", "poweroff"}}));
  EXPECT_TRUE(host.await([&] { return host.list().size() == 2; })) << host.list().dump(1);
  EXPECT_TRUE(host.await([&] { return host.ask({{"op", "domain"}, {"name", "web"}})->at("stage") == "up"; }));
  const json next = host.ask({{"op", "domain"}, {"name", "web"}}).value();
  EXPECT_NE(next.at("domid"), first);
  EXPECT_EQ(next.at("uuid"), uuid) << "it is the same machine that runs again";
  const json kept = host.ask({{"op", "domain"}, {"domid", first}}).value();
  EXPECT_THAT(kept.at("name").get<std::string>(), ::testing::MatchesRegex("web-[0-9]{8}T[0-9]{4}Z"));
  EXPECT_EQ(kept.at("shutdown_reason"), "poweroff");
  EXPECT_NE(kept.at("uuid"), uuid);
  const auto read = [&](const std::string& path) { return host.shell("xenstore-read " + path); };
  const std::string home = "/local/domain/" + std::to_string(first);
  EXPECT_EQ(read(home + "/name"), kept.at("name").get<std::string>() + "\n");
  EXPECT_EQ(read("$(xenstore-read " + home + "/vm)/name"), kept.at("name").get<std::string>() + "\n");
  EXPECT_EQ(read("/vm/" + uuid + "/name"), "web\n");

  // It stays when there is another polisd.
  host.kill_polisd();
  host.connect();
  EXPECT_EQ(host.list().size(), 2u);
  ASSERT_TRUE(host.ask({{"op", "destroy"}, {"domid", first}}));
  EXPECT_EQ(host.shell("xenstore-list /vm"), uuid + "\n");
}

TEST(HostEndActionTest, WhatIsKeptWithoutASuccessorHasNothingOfItsInXenstore) {
  const testing::TemporaryDirectory directory;
  const std::string image = directory.path() + "/image";
  std::filesystem::copy_file(XENOPOLIS_GUEST_DIR "/citizen", image);
  LiveHost host;
  const DomId domid = host.create("web", "citizen",
                                  {{"image", image}, {"on_poweroff", "rename-restart"}, {"command_line", "beat_ms=50"}})
                          .value();
  std::filesystem::remove(image);
  std::ofstream(image) << "no kernel";
  ASSERT_TRUE(host.ask({{"op", "shutdown"}, {"domid", domid}, {"reason", "poweroff"}}));
  json kept;
  EXPECT_TRUE(host.await([&] {
    const json all = host.list();
    if (all.size() != 1 || all[0].at("name") == "web") return false;
    kept = all[0];
    return true;
  })) << host.list();
  EXPECT_EQ(host.shell("xenstore-list /vm"), kept.at("uuid").get<std::string>() + "\n");
}

// Domains come, go, reboot and pause, and polisd is killed at any moment. What is left is what a host can explain.
TEST(HostChurnTest, NothingIsLeftOfWhatPolisdHadBegunWhenItWasKilled) {
  LiveHost host({"--most-kills", "1000"});
  host.machine();
  std::mt19937 random{1};
  unsigned number = 0;
  for (unsigned kills = 0; kills < 25; ++kills) {
    std::vector<DomId> there;
    for (const json& domain : host.list()) there.push_back(domain.at("domid"));
    const auto ask = [&](json request) { host.control().request(std::move(request), [](const Result<json>&) {}); };
    for (unsigned i = 0; i < 12; ++i) {
      const DomId domid = there.empty() ? DomId{0} : there[random() % there.size()];
      switch (random() % (there.size() > 60 ? 8 : 5)) {
        default:
          ask({{"op", "destroy"}, {"domid", domid}});
          break;
        case 0:
        case 1:
          ask({{"op", "create"},
               {"name", "churn-" + std::to_string(number++)},
               {"image", XENOPOLIS_GUEST_DIR "/citizen"},
               {"consoles", random() % 3}});
          break;
        case 2:
          ask({{"op", "shutdown"}, {"domid", domid}, {"reason", random() % 2 == 0 ? "reboot" : "poweroff"}});
          break;
        case 3:
          ask({{"op", random() % 2 == 0 ? "pause" : "unpause"}, {"domid", domid}});
          break;
        case 4:
          ask({{"op", "rename"}, {"domid", domid}, {"name", "named-" + std::to_string(number++)}});
          break;
      }
    }
    const uint64_t end = MonotonicClock().now_ns() + random() % 40'000'000;
    while (MonotonicClock().now_ns() < end) (void)host.loop().run_once(1);
    host.kill_polisd();
    host.connect();
  }
  // All that was begun comes to its end.
  const auto is_settled = [&] {
    const json all = host.list();
    return std::all_of(all.begin(), all.end(), [](const json& domain) { return domain.at("stage") == "up"; });
  };
  EXPECT_TRUE(host.await(is_settled)) << host.list().dump(1);
  std::set<std::string> domids{"0"};
  std::set<std::string> names;
  for (const json& domain : host.list()) {
    domids.insert(std::to_string(domain.at("domid").get<DomId>()));
    EXPECT_TRUE(names.insert(domain.at("name")).second) << domain;
  }
  EXPECT_GT(domids.size(), 1u);
  const auto in_xenstore = [&](const std::string& directory) {
    std::istringstream lines(host.shell("xenstore-list " + directory));
    std::set<std::string> all;
    for (std::string line; std::getline(lines, line);) all.insert(line);
    return all;
  };
  EXPECT_EQ(in_xenstore("/local/domain"), domids);
  EXPECT_EQ(in_xenstore("/vm").size(), domids.size() - 1);
  for (const json& domain : host.list()) {
    EXPECT_TRUE(host.ask({{"op", "destroy"}, {"domid", domain.at("domid")}})) << domain;
  }
  EXPECT_EQ(in_xenstore("/local/domain"), std::set<std::string>{"0"});
  EXPECT_EQ(in_xenstore("/vm").size(), 0u);
  for (DomId domid = 1; domid < kDomIdCount; ++domid) ASSERT_FALSE(domain::exists(domid)) << domid;
}

// The calendar's clock of all processes of a host is that of clock_jump.cc: an offset in a file.
class HostCalendarTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    setenv("LD_PRELOAD", CLOCK_JUMP_LIBRARY, 1);
    setenv("CLOCK_JUMP_FILE", file(), 1);
  }
  static void TearDownTestSuite() {
    unsetenv("LD_PRELOAD");
    std::filesystem::remove(file());
  }
  static const char* file() {
    static const std::string path = ::testing::TempDir() + "clock-jump-" + std::to_string(getpid());
    return path.c_str();
  }
  static void jump(int64_t seconds) {
    const Fd fd(open(file(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(pwrite(fd.get(), &seconds, sizeof seconds, 0), static_cast<ssize_t>(sizeof seconds));
  }
};

TEST_F(HostCalendarTest, JumpsOfTheCalendarChangeNothingButWhatPeopleRead) {
  constexpr int64_t kYear = 365 * 86'400;
  jump(0);
  LiveHost host;
  const auto started = [&](DomId domid) {
    return host.ask({{"op", "domain"}, {"domid", domid}})->at("started_s").get<int64_t>();
  };
  const DomId now = host.create("now", "citizen", {{"command_line", "beat_ms=50"}}).value();
  host.machine();
  const auto expect_beats = [&](const std::string& when) {
    const uint64_t before = domain::record_of(now).hypercalls.load();
    EXPECT_TRUE(host.await([&] { return domain::record_of(now).hypercalls.load() > before + 3; })) << when;
  };
  jump(kYear);
  expect_beats("a year on");
  const DomId later = host.create("later", "citizen").value();
  EXPECT_NEAR(static_cast<double>(started(later) - started(now)), kYear, 60);
  jump(-kYear);
  expect_beats("a year back");
  const DomId before = host.create("before", "citizen").value();
  EXPECT_NEAR(static_cast<double>(started(now) - started(before)), kYear, 60);
  ASSERT_TRUE(host.ask({{"op", "shutdown"}, {"domid", before}, {"reason", "reboot"}}));
  EXPECT_TRUE(host.await([&] {
    const json all = host.list();
    return all.size() == 3 && std::none_of(all.begin(), all.end(), [&](const json& domain) {
             return domain.at("domid") == before || domain.at("stage") != "up";
           });
  }));
}

// Hosts in a group of processes that may not use more than so much memory.
class HostMemoryLimitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const bool is_version_2 = std::filesystem::exists("/sys/fs/cgroup/cgroup.controllers");
    parent_ = is_version_2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    group_ = parent_ + "/polis-test-" + std::to_string(getpid());
    mkdir(group_.c_str(), 0700);
    const std::string limit = group_ + (is_version_2 ? "/memory.max" : "/memory.limit_in_bytes");
    std::ofstream(limit) << kBytes;
    std::string said;
    std::ifstream(limit) >> said;
    if (said != std::to_string(kBytes)) GTEST_SKIP() << "no control group of one's own to limit memory in";
  }
  void TearDown() override { rmdir(group_.c_str()); }

  // `body` in a process of its own in the group; what it starts is there, too.
  void run_limited(const std::function<void()>& body) {
    const pid_t child = fork();
    if (child == 0) {
      std::ofstream(group_ + "/cgroup.procs") << getpid();
      body();
      std::ofstream(parent_ + "/cgroup.procs") << getpid();
      _exit(HasFailure() ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  // Until one cannot be created.
  static Result<DomId> fill(LiveHost& host, std::vector<DomId>& there) {
    Result<DomId> created = DomId{0};
    while (there.size() < 5000 &&
           (created = host.create("d-" + std::to_string(there.size()), "citizen", {{"command_line", "beat_ms=50"}}))) {
      there.push_back(*created);
    }
    return created;
  }
  static constexpr uint64_t kBytes = 128u << 20;
  std::string parent_, group_;
};

TEST_F(HostMemoryLimitTest, DomainsThatDoNotFitAreRefusedAndOthersGoOn) {
  run_limited([] {
    LiveHost host;
    host.machine();
    std::vector<DomId> there;
    const Result<DomId> refused = fill(host, there);
    ASSERT_FALSE(refused) << "thousands of domains in 128 MiB";
    EXPECT_EQ(refused.error().code, ENOMEM) << refused.error().message();
    EXPECT_GT(there.size(), 20u);
    EXPECT_EQ(host.list().size(), there.size());
    expect_beats(host, there, "where there is no more memory");
    for (size_t i = 0; i < there.size() / 2; ++i) ASSERT_TRUE(host.ask({{"op", "destroy"}, {"domid", there[i]}}));
    EXPECT_TRUE(host.await([&] { return host.create("again", "citizen").has_value(); })) << "there is room again";
  });
}

// With nothing kept free the kernel has to end something: cells.
// Disabled, because it fails in about one run of three: polis-xenstored is ended as often as it is started again. Why
// it is chosen, although cells offer themselves first, is not known yet.
TEST_F(HostMemoryLimitTest, DISABLED_WhenTheKernelEndsCellsForWantOfMemoryTheHostGoesOn) {
  run_limited([] {
    LiveHost host({"--reserve-mib", "0"});
    host.machine();
    const pid_t keeper = host.pid_of("polis-keeper");
    std::vector<DomId> there;
    // Until somebody's domains are gone.
    while (there.size() < 5000 && host.list().size() == there.size()) {
      for (int i = 0; i < 32; ++i) {
        const auto created =
            host.create("d-" + std::to_string(there.size()), "citizen", {{"command_line", "beat_ms=50"}});
        if (created) there.push_back(*created);
      }
    }
    EXPECT_LT(host.list().size(), there.size()) << "nothing was ended";
    EXPECT_EQ(host.pid_of("polis-keeper"), keeper);
    EXPECT_EQ(host.ask({{"op", "info"}})->at("polisd_starts"), 1);
    std::vector<DomId> left;
    for (const json& domain : host.list()) {
      if (domain.at("state") == "running") left.push_back(domain.at("domid"));
    }
    expect_beats(host, left, "after others were ended");
  });
}

// Sockets and logs on a file system that has no room left.
TEST(HostDiskTest, AFullDiskCostsLogsAndNothingElse) {
  const testing::TemporaryDirectory directory;
  if (mount("polis-test", directory.path().c_str(), "tmpfs", 0, "size=256k") != 0) {
    GTEST_SKIP() << "mounting a small file system takes privileges: " << std::strerror(errno);
  }
  {
    LiveHost host({"--run-dir", directory.path()});
    std::set<DomId> there;
    for (unsigned i = 0; i < 20; ++i) {
      there.insert(host.create("d-" + std::to_string(i), "citizen", {{"command_line", "beat_ms=50"}}).value());
    }
    std::ofstream filler(directory.path() + "/filler");
    const std::string block(4096, 'x');
    while (filler.write(block.data(), static_cast<long>(block.size())).flush()) {
    }
    const auto late = host.create("late", "citizen", {{"command_line", "beat_ms=50"}});
    ASSERT_TRUE(late) << late.error().message();
    there.insert(*late);
    host.machine();
    expect_beats(host, there, "on a full disk");
    const pid_t consoled = host.pid_of("polis-consoled");
    host.kill_polisd();
    host.connect();
    EXPECT_EQ(host.list().size(), there.size()) << "a new polisd needs no room on the disk";
    EXPECT_EQ(host.pid_of("polis-consoled"), consoled);
    filler.close();
    std::filesystem::remove(directory.path() + "/filler");
    const std::string log = directory.path() + "/console/late.log";
    EXPECT_TRUE(host.await([&] {
      std::ifstream file(log);
      return std::string(std::istreambuf_iterator<char>(file), {}).find("late") != std::string::npos;
    })) << "what could not be logged is, when there is room";
  }
  umount2(directory.path().c_str(), MNT_DETACH);
}

// For this process and its children; false: that takes privileges.
bool take_kvm_away() {
  if (!std::filesystem::exists("/dev/kvm")) return true;
  return unshare(CLONE_NEWNS) == 0 && mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("/dev/null", "/dev/kvm", nullptr, MS_BIND, nullptr) == 0;
}

TEST(HostKvmTest, WithoutKvmAHostSaysWhatToDoOrGoesOnHostedAndSaysThat) {
  constexpr int kSkipped = 77;
  const auto look = [] {
    if (!take_kvm_away()) return kSkipped;
    const testing::TemporaryDirectory directory;
    LiveHost host({"--backend", "auto"});
    const auto info = host.ask({{"op", "info"}});
    if (info->at("backend") != "hosted") return 1;
    if (info->at("backend_why").get<std::string>().find("/dev/kvm") == std::string::npos) return 2;
    if (!host.create("hosted", "citizen")) return 3;
    const std::string refused =
        host.shell(std::string(POLISD_PROGRAM) + " --backend kvm --run-dir " + directory.path() + " 2>&1; echo $?");
    if (refused.find("/dev/kvm") == std::string::npos) return 4;
    return refused.ends_with("\n1\n") ? 0 : 5;
  };
  const pid_t child = fork();
  if (child == 0) _exit(look());
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kSkipped) GTEST_SKIP() << "hiding /dev/kvm takes privileges";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace xenopolis
