// How domains of a host end and begin again, and what is left of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "base/clock.h"
#include "domain/registry.h"
#include "live_host.h"
#include "vcpu/emergency_console.h"

namespace xenopolis {
namespace {

using nlohmann::json;
using testing::LiveHost;

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

// Else a guest that reboots could say as much as it may each second.
TEST(HostLogTest, WhatAGuestHasSaidToTheLogCountsAfterItsReboot) {
  LiveHost host;
  const DomId first = host.create("web", "citizen").value();
  host.machine();
  domain::record_of(first).log_bytes = vcpu::EmergencyConsole::kMaxTotal;
  ASSERT_TRUE(host.ask({{"op", "shutdown"}, {"domid", first}, {"reason", "reboot"}}));
  DomId second = first;
  EXPECT_TRUE(host.await([&] {
    const auto now = host.ask({{"op", "domain"}, {"name", "web"}});
    if (now) second = now->at("domid");
    return now && second != first && now->at("stage") == "up";
  }));
  const uint64_t said = domain::record_of(second).log_bytes;
  EXPECT_LT(said, uint64_t{vcpu::EmergencyConsole::kMaxTotal});
  EXPECT_GT(said, vcpu::EmergencyConsole::kMaxTotal / 2);
}

// What stands in xenstore below /vm/UUID is one domain's.
TEST(HostUuidTest, NoTwoDomainsHaveOneUuid) {
  LiveHost host;
  const std::string uuid = "01234567-89ab-cdef-0123-456789abcdef";
  const json same{{"uuid", uuid}};
  const DomId first = host.create("first", "citizen", same).value();
  const auto refused = host.create("second", "citizen", same);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EEXIST);
  EXPECT_NE(refused.error().message().find("(first) has the UUID " + uuid), std::string::npos)
      << refused.error().message();
  // Also for the next polisd, until it is gone; its successor after a reboot has it, too.
  host.kill_polisd();
  host.connect();
  EXPECT_FALSE(host.create("second", "citizen", same));
  ASSERT_TRUE(host.ask({{"op", "shutdown"}, {"domid", first}, {"reason", "reboot"}}));
  EXPECT_TRUE(host.await([&] {
    const auto now = host.ask({{"op", "domain"}, {"name", "first"}});
    return now && now->at("domid") != first && now->at("stage") == "up" && now->at("uuid") == uuid;
  }));
  EXPECT_FALSE(host.create("second", "citizen", same));
  ASSERT_TRUE(host.ask({{"op", "destroy"}, {"domid", host.ask({{"op", "domain"}, {"name", "first"}})->at("domid")}}));
  EXPECT_TRUE(host.create("second", "citizen", same));
  EXPECT_EQ(host.shell("xenstore-read /vm/" + uuid + "/name"), "second\n");
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
