// What a running host does about event channels: the limit that a domain is created with, and VIRQ_DOM_EXC for whoever
// watches domains end.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include <map>

#include "base/clock.h"
#include "domain/registry.h"
#include "event/consumer.h"
#include "live_host.h"

namespace xenopolis::toolstack {
namespace {

constexpr int kPatienceMs = 15'000;
// Of Dom0's vCPUs, one that no service uses.
constexpr VcpuId kOurVcpu = 5;

class HostEventsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(host_.ask({{"op", "subscribe"}}));
    host_.control().on_event([this](const nlohmann::json& event) {
      if (event.value("event", "") == "created") return;
      ends_.emplace(event.value("domid", DomId{0}), event.value("event", ""));
    });
  }

  Result<DomId> create(const std::string& guest, const nlohmann::json& more = nlohmann::json::object()) {
    return host_.create(guest, guest, more);
  }
  // How it ended: "shutdown" or "crashed".
  std::string await_end(DomId domid) {
    return host_.await([&] { return ends_.contains(domid); }) ? ends_.find(domid)->second : "nothing";
  }

  testing::LiveHost host_;
  event::EventChannels events_{host_.machine()};
  std::map<DomId, std::string> ends_;  // the first that was heard of a domain
};

TEST_F(HostEventsTest, DomainHasAsManyChannelsAsItWasCreatedWith) {
  const DomId limited = create("many_ports", {{"command_line", "limit=40"}, {"max_event_channels", 40}}).value();
  EXPECT_EQ(await_end(limited), "shutdown") << "its own verdict, else it crashes";
  const DomId usual = create("citizen").value();
  EXPECT_EQ(events_.port_limit(usual), 1024u) << "port 0 included";
  for (const uint64_t wrong : {uint64_t{0}, uint64_t{131'072}, uint64_t{0xffffffff}}) {
    const auto refused = create("hello", {{"max_event_channels", wrong}});
    ASSERT_FALSE(refused) << wrong;
    EXPECT_EQ(refused.error().code, EINVAL);
  }
}

TEST_F(HostEventsTest, DomainExceptionIsRaisedForAShutdownADestructionAndADeadCell) {
  event::Consumer dom0 = event::Consumer::attach(events_, kOurVcpu).value();
  const Port exception = events_.bind_virq(kDom0, VIRQ_DOM_EXC, 0).value();
  ASSERT_TRUE(events_.bind_vcpu(kDom0, exception, kOurVcpu));
  ASSERT_TRUE(dom0.unmask(exception));
  const MonotonicClock clock;
  const uint64_t give_up_ns = clock.now_ns() + uint64_t{kPatienceMs} * 1'000'000;
  // Events until `domid` is in that state: each may stand for several.
  const auto await = [&](DomId domid, domain::State wanted) {
    for (;;) {
      pollfd readable{dom0.fd(), POLLIN, 0};
      if (poll(&readable, 1, 0) == 0) (void)host_.loop().run_once(1);
      bool told = false;
      dom0.drain([&](Port port) { told |= port == exception; });
      if (told && domain::state_of(domid) == wanted) return true;
      if (clock.now_ns() > give_up_ns) return false;
    }
  };
  const DomId shut_down = create("spin", {{"command_line", "spin_ms=100"}}).value();
  EXPECT_TRUE(await(shut_down, domain::State::kFree)) << "polisd destroys what has ended";

  const DomId destroyed = create("citizen").value();
  ASSERT_TRUE(host_.ask({{"op", "destroy"}, {"domid", destroyed}}));
  EXPECT_TRUE(await(destroyed, domain::State::kFree));

  const DomId orphan = create("citizen").value();
  const auto info = host_.ask({{"op", "info"}});
  for (const pid_t cell : info->at("processes").at("cells")) kill(cell, SIGKILL);
  EXPECT_TRUE(await(orphan, domain::State::kFree));
}

}  // namespace
}  // namespace xenopolis::toolstack
