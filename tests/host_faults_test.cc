// What a host survives: its processes killed or hung, and clocks that jump, under a thousand running domains.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/clock.h"
#include "base/fd.h"
#include "crowd.h"
#include "live_host.h"

namespace xenopolis {
namespace {

using nlohmann::json;
using testing::Crowd;
using testing::LiveHost;

void wait(LiveHost& host, uint64_t ns) {
  const uint64_t end = MonotonicClock().now_ns() + ns;
  while (MonotonicClock().now_ns() < end) (void)host.loop().run_once(50);
}

std::vector<pid_t> all_processes(LiveHost& host) {
  const json processes = host.ask({{"op", "info"}})->at("processes");
  auto pids = processes.at("cells").get<std::vector<pid_t>>();
  for (const char* name : {"polis-keeper", "polisd", "polis-xenstored", "polis-consoled"}) {
    pids.push_back(processes.at(name));
  }
  return pids;
}

class HostFaultsTest : public ::testing::Test {
 protected:
  LiveHost host_;
  Crowd crowd_{host_};
};

TEST_F(HostFaultsTest, GuestsDoNotNoticeThatPolisdIsKilled) {
  crowd_.fill();
  host_.kill_polisd();
  crowd_.expect_all_beat("without polisd");
  host_.connect();
  EXPECT_EQ(crowd_.running(), crowd_.domids());
  EXPECT_EQ(host_.ask({{"op", "info"}})->at("polisd_starts"), 2);
  crowd_.expect_all_beat("with the next polisd");

  // The next one does all that the first one did, with old domains and new ones.
  const DomId old = *crowd_.domids().begin();
  ASSERT_TRUE(host_.ask({{"op", "pause"}, {"domid", old}}));
  ASSERT_TRUE(host_.ask({{"op", "unpause"}, {"domid", old}}));
  ASSERT_TRUE(host_.ask({{"op", "destroy"}, {"domid", old}}));
  crowd_.domids().erase(old);
  const auto created = host_.create("late", "citizen", {{"command_line", "beat_ms=100"}});
  ASSERT_TRUE(created) << created.error().message();
  crowd_.domids().insert(*created);
  crowd_.expect_all_beat("and new ones");
  const DomId second = *crowd_.domids().begin();
  ASSERT_TRUE(host_.ask({{"op", "shutdown"}, {"domid", second}, {"reason", "reboot"}}));
  EXPECT_TRUE(host_.await([&] {
    return !crowd_.running().contains(second) && crowd_.running().size() == Crowd::kDomains;
  })) << "a domain that a polisd before this one has created reboots";
  EXPECT_NE(host_.shell("xenstore-ls /local/domain/" + std::to_string(*created)).find("name = \"late\""),
            std::string::npos);
}

TEST_F(HostFaultsTest, DaemonsAreStartedAgainAndADeadCellTakesItsDomainsOnly) {
  crowd_.fill();
  for (const char* daemon : {"polis-xenstored", "polis-consoled"}) {
    const pid_t pid = host_.pid_of(daemon);
    ASSERT_EQ(kill(pid, SIGKILL), 0);
    EXPECT_TRUE(host_.await([&] { return host_.pid_of(daemon) != pid; })) << daemon;
  }
  crowd_.expect_all_beat("after the daemons' ends");
  ASSERT_EQ(crowd_.running(), crowd_.domids());
  // The next polisd finds daemons that are dead, or that have not finished dying.
  for (const char* daemon : {"polis-xenstored", "polis-consoled"}) {
    ASSERT_EQ(kill(host_.pid_of(daemon), SIGKILL), 0);
    host_.kill_polisd();
    host_.connect();
    ASSERT_EQ(crowd_.running(), crowd_.domids()) << daemon << " and polisd at once";
  }
  crowd_.expect_all_well("after the ends of two at once");
  ASSERT_EQ(kill(host_.pid_of("polis-cell"), SIGKILL), 0);
  EXPECT_TRUE(host_.await([&] { return host_.list().size() < Crowd::kDomains; }));
  const std::set<DomId> left = crowd_.running();
  EXPECT_GE(left.size(), Crowd::kDomains - 64);
  EXPECT_LT(left.size(), Crowd::kDomains);
  crowd_.domids() = left;
  crowd_.expect_all_beat("after the cell's end");
}

// As for a host that was suspended, or whose machine was.
TEST_F(HostFaultsTest, TimeThatPassesUnnoticedEndsNothing) {
  crowd_.fill();
  const std::vector<pid_t> processes = all_processes(host_);
  for (const pid_t pid : processes) ASSERT_EQ(kill(pid, SIGSTOP), 0);
  wait(host_, 1'000'000'000);
  for (const pid_t pid : processes) ASSERT_EQ(kill(pid, SIGCONT), 0);
  crowd_.expect_all_well("after a second that was lost");
}

// A daemon that hangs keeps nobody waiting for ever. Cells are left alone: with one its domains would end.
TEST(HostPatienceTest, DaemonThatDoesNotAnswerIsStartedAgain) {
  LiveHost host({"--patience", "1"});
  Crowd crowd(host);
  crowd.fill();
  for (const char* daemon : {"polis-xenstored", "polis-consoled"}) {
    const pid_t pid = host.pid_of(daemon);
    ASSERT_EQ(kill(pid, SIGSTOP), 0);
    const auto created = crowd.create(daemon);
    ASSERT_TRUE(created) << created.error().message();
    crowd.domids().insert(*created);
    EXPECT_NE(host.pid_of(daemon), pid);
  }
  crowd.expect_all_well("after daemons that hung");
  const pid_t cell = host.pid_of("polis-cell");
  ASSERT_EQ(kill(cell, SIGSTOP), 0);
  size_t destroyed = 0;
  for (const DomId domid : crowd.domids()) {
    host.control().request({{"op", "destroy"}, {"domid", domid}},
                           [&](const Result<json>& answer) { destroyed += answer.has_value(); });
  }
  wait(host, 2'500'000'000);
  EXPECT_EQ(host.pid_of("polis-cell"), cell);
  const size_t waiting = crowd.domids().size() - destroyed;
  EXPECT_GE(waiting, 1u);
  EXPECT_LE(waiting, 64u) << "those of other cells need not wait";
  ASSERT_EQ(kill(cell, SIGCONT), 0);
  EXPECT_TRUE(host.await([&] { return destroyed == crowd.domids().size() && host.list().empty(); }));
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
    Crowd(host).fill();
    pids = all_processes(host);
    ASSERT_EQ(kill(host.pid_of("polis-keeper"), SIGKILL), 0);
  }
  LiveHost next({"--run-dir", directory.path()});
  // The first that answers may be one who is about to die.
  EXPECT_TRUE(next.await([&] {
    const pid_t polisd = next.pid_of("polisd");
    if (polisd != 0 && std::find(pids.begin(), pids.end(), polisd) == pids.end()) return true;
    next.connect();
    return false;
  }));
  const auto created = next.create("again", "citizen");
  EXPECT_TRUE(created) << created.error().message();
  EXPECT_TRUE(next.await([&] { return std::none_of(pids.begin(), pids.end(), is_alive); }));
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
  Crowd crowd(host);
  crowd.fill();
  const DomId now = *crowd.domids().begin();
  const auto started = [&](DomId domid) {
    return host.ask({{"op", "domain"}, {"domid", domid}})->at("started_s").get<int64_t>();
  };
  const auto create = [&](const std::string& name) {
    const DomId domid = crowd.create(name).value();
    crowd.domids().insert(domid);
    return domid;
  };
  jump(kYear);
  crowd.expect_all_beat("a year on");
  EXPECT_NEAR(static_cast<double>(started(create("later")) - started(now)), kYear, 60);
  jump(-kYear);
  crowd.expect_all_beat("a year back");
  const DomId before = create("before");
  EXPECT_NEAR(static_cast<double>(started(now) - started(before)), kYear, 60);
  ASSERT_TRUE(host.ask({{"op", "shutdown"}, {"domid", before}, {"reason", "reboot"}}));
  EXPECT_TRUE(host.await([&] {
    const auto successor = host.ask({{"op", "domain"}, {"name", "before"}});
    return successor && successor->at("domid") != before && successor->at("stage") == "up";
  }));
  crowd.domids().erase(before);
  crowd.domids().insert(host.ask({{"op", "domain"}, {"name", "before"}})->at("domid").get<DomId>());
  crowd.expect_all_well("after jumps of the calendar");
}

}  // namespace
}  // namespace xenopolis
