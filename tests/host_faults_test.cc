// What a host survives: its processes killed, under a thousand running domains.
#include <gtest/gtest.h>
#include <signal.h>

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

  // All beat within a while.
  void expect_all_beat(const std::string& when) {
    std::map<DomId, uint64_t> before;
    for (const DomId domid : domids_) before[domid] = domain::record_of(domid).hypercalls.load();
    EXPECT_TRUE(host_.await([&] {
      std::erase_if(before, [](const auto& was) { return domain::record_of(was.first).hypercalls.load() > was.second; });
      return before.empty();
    })) << before.size()
        << " domains do not beat " << when;
  }
  std::set<DomId> running() {
    std::set<DomId> all;
    for (const json& domain : host_.list()) {
      if (domain.at("state") == "running") all.insert(domain.at("domid").get<DomId>());
    }
    return all;
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
  ASSERT_EQ(kill(host_.pid_of("polis-cell"), SIGKILL), 0);
  EXPECT_TRUE(host_.await([&] { return host_.list().size() < kDomains; }));
  const std::set<DomId> left = running();
  EXPECT_GE(left.size(), kDomains - 64);
  EXPECT_LT(left.size(), kDomains);
  domids_ = left;
  expect_all_beat("after the cell's end");
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

}  // namespace
}  // namespace xenopolis
