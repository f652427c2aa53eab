// A process is killed at every fault point of every operation: the others go on, and no event is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <set>
#include <string>

#include "base/fault_point.h"
#include "event/test_world.h"

namespace xenopolis::event {
namespace {

int passes_left = 0;           // in the child: dies when it gets to zero
std::set<std::string> passed;  // in the parent

// Runs `operation` in a child that kills itself at the `nth` fault point (from 0). False: it did not get that far.
bool dies_at(int nth, const std::function<void()>& operation) {
  const pid_t child = fork();
  if (child == 0) {
    passes_left = nth;
    fault_hook = [](const char*) {
      if (passes_left-- == 0) kill(getpid(), SIGKILL);
    };
    operation();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
  return WIFSIGNALED(status);
}

// Every port of `domid` is in one of the states that operations leave behind, and all but `in_use` can be allocated.
void expect_whole(EventChannels& channels, DomId domid, uint32_t max_port, uint32_t in_use) {
  std::set<Port> fresh;
  while (const auto port = channels.alloc_unbound(kDom0, domid, 99)) {
    ASSERT_TRUE(fresh.insert(*port).second) << "port " << *port << " given twice";
  }
  uint32_t open = 0;
  for (Port port = 1; port <= max_port; ++port) {
    const auto status = channels.status(kDom0, domid, port);
    ASSERT_TRUE(status);
    ASSERT_NE(status->status, uint32_t{EVTCHNSTAT_closed}) << port;
    ++open;
    if (status->status != EVTCHNSTAT_interdomain) continue;
    const auto back = channels.status(kDom0, status->remote_domid, status->remote_port);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->status, uint32_t{EVTCHNSTAT_interdomain}) << port;
    EXPECT_EQ(back->remote_domid, domid);
    EXPECT_EQ(back->remote_port, port);
  }
  EXPECT_EQ(channels.counters(domid).open_ports, open);
  EXPECT_LE(open - fresh.size(), in_use);
}

class FaultTest : public testing::TestWithParam<Abi> {};

constexpr uint32_t kMaxPort = 24;

// Domain 1 sends to domain 2, which has two vCPUs and four channels.
struct Scene {
  explicit Scene(Abi abi) : channels(world.channels), vcpu0(channels, 2, 0), vcpu1(channels, 2, 1) {
    world.add_guest(1, abi, {.max_port = kMaxPort});
    world.add_guest(2, abi, {.max_port = kMaxPort, .vcpus = 2});
    for (int i = 0; i < 4; ++i) std::tie(from[i], to[i]) = world.connect(1, 2);
    GuestSide(channels, 1).take();
    channels.set_doorbell(2, 0, kBell, 0);
    channels.set_doorbell(2, 1, kBell, 1);
  }
  void send(int channel) { ASSERT_TRUE(channels.send(1, from[channel])); }
  // As the runner does: marks first, then the guests.
  std::multiset<Port> take() {
    std::multiset<Port> all;
    world.machine.doorbells().take(kBell);
    for (GuestSide* side : {&vcpu0, &vcpu1}) {
      for (const Port port : side->take()) all.insert(port);
    }
    return all;
  }
  static constexpr machine::DoorbellId kBell = 3;

  World world;
  EventChannels& channels;
  GuestSide vcpu0, vcpu1;
  Port from[4], to[4];
};

struct Situation {
  const char* name;
  std::function<void(Scene&)> before;
};
const Situation kSituations[] = {
    {"idle", [](Scene&) {}},
    {"others wait", [](Scene& scene) { scene.send(1), scene.send(2); }},
    {"it waits already", [](Scene& scene) { scene.send(0), scene.send(1); }},
    {"it was served last", [](Scene& scene) { scene.send(0), scene.take(); }},
    {"another was served last", [](Scene& scene) { scene.send(1), scene.take(); }},
    {"its priority has changed",
     [](Scene& scene) {
       scene.send(0), scene.take();
       [[maybe_unused]] const XenStatus changed = scene.channels.set_priority(2, scene.to[0], 2);
     }},
    {"it has moved",
     [](Scene& scene) {
       scene.send(0), scene.take();
       EXPECT_TRUE(scene.channels.bind_vcpu(2, scene.to[0], 1));
     }},
    {"it has moved to a waiting queue",
     [](Scene& scene) {
       EXPECT_TRUE(scene.channels.bind_vcpu(2, scene.to[1], 1));
       EXPECT_TRUE(scene.channels.bind_vcpu(2, scene.to[2], 1));
       scene.send(0), scene.take(), scene.send(1), scene.send(2);
       EXPECT_TRUE(scene.channels.bind_vcpu(2, scene.to[0], 1));
     }},
};

// How far the sender got before it died.
bool in_journal(DomId domid) {
  for (VcpuChannels& vcpu : channels_of(domid).vcpus) {
    if (vcpu.journal.load() != 0) return true;
  }
  return false;
}

void expect_event_survives(Abi abi, const Situation& situation, bool guest_looks_first) {
  for (int nth = 0; nth < 100; ++nth) {
    SCOPED_TRACE(std::string(situation.name) + ", fault point " + std::to_string(nth));
    Scene scene(abi);
    scene.take();
    situation.before(scene);
    if (!dies_at(nth, [&] { scene.send(0); })) {
      EXPECT_GT(nth, 4);
      return;
    }
    const bool begun = in_journal(2);
    std::multiset<Port> taken;
    if (guest_looks_first) taken = scene.take();
    // Somebody else's event to the same vCPUs.
    const VcpuId vcpu = scene.channels.status(2, 2, scene.to[0])->vcpu;
    ASSERT_TRUE(scene.channels.bind_vcpu(2, scene.to[3], vcpu));
    scene.send(3);
    EXPECT_NE(machine::doorbell(Scene::kBell).wake.load() & (1ull << vcpu), 0u) << "the vCPU must be rung";
    EXPECT_TRUE(GuestSide(scene.channels, 2, vcpu).upcall_pending());
    taken.merge(scene.take());
    EXPECT_EQ(taken.count(scene.to[3]), 1u);
    if (begun) {
      EXPECT_GE(taken.count(scene.to[0]), 1u) << "lost";
    }
    EXPECT_LE(taken.count(scene.to[0]), 2u);
    // And the queues are sound.
    for (int round = 0; round < 20; ++round) {
      for (int channel = 0; channel < 4; ++channel) {
        if ((round >> channel & 1) == 0) scene.send(channel);
      }
      const auto again = scene.take();
      for (int channel = 0; channel < 4; ++channel) {
        ASSERT_EQ(again.count(scene.to[channel]), (round >> channel & 1) == 0 ? 1u : 0u) << round << ": " << channel;
      }
    }
    expect_whole(scene.channels, 2, kMaxPort, 4);
  }
  FAIL() << "no end";
}

TEST_P(FaultTest, SenderKilledAnywhereLosesNoEventAndBlocksNobody) {
  for (const Situation& situation : kSituations) {
    expect_event_survives(GetParam(), situation, false);
    expect_event_survives(GetParam(), situation, true);
  }
}

TEST_P(FaultTest, UnmaskerKilledAnywhereLosesNoEvent) {
  for (int nth = 0; nth < 100; ++nth) {
    Scene scene(GetParam());
    scene.take();
    scene.vcpu0.set_mask(scene.to[0], true);
    scene.send(0);
    const bool died = dies_at(nth, [&] { EXPECT_TRUE(scene.channels.unmask(2, scene.to[0])); });
    EXPECT_TRUE(scene.channels.unmask(2, scene.to[0]));
    EXPECT_EQ(scene.take().count(scene.to[0]), 1u) << nth;
    if (!died) return;
  }
  FAIL() << "no end";
}

TEST_P(FaultTest, PollerIsRungAlthoughTheSenderDied) {
  for (int nth = 0; nth < 100; ++nth) {
    Scene scene(GetParam());
    scene.take();
    scene.vcpu0.set_mask(scene.to[0], true);
    scene.vcpu0.set_mask(scene.to[3], true);
    ASSERT_FALSE(scene.channels.begin_poll(2, 1, &scene.to[0], 1).value());
    scene.world.machine.doorbells().take(Scene::kBell);
    const bool died = dies_at(nth, [&] { scene.send(0); });
    const bool begun = in_journal(2);
    scene.send(3);
    if (begun || scene.channels.status(2, 2, scene.to[0])->pending) {
      EXPECT_NE(scene.world.machine.doorbells().take(Scene::kBell) & 2, 0u) << nth;
    }
    if (!died) return;
  }
  FAIL() << "no end";
}

struct Operation {
  const char* name;
  uint32_t added;  // ports, in one domain; a caller that dies before it is told leaves them open
  std::function<void(Scene&)> run;
};
const Operation kOperations[] = {
    {"alloc_unbound", 1, [](Scene& scene) { EXPECT_TRUE(scene.channels.alloc_unbound(2, 2, 1)); }},
    {"bind_ipi", 1, [](Scene& scene) { EXPECT_TRUE(scene.channels.bind_ipi(2, 1)); }},
    {"bind_virq", 1, [](Scene& scene) { EXPECT_TRUE(scene.channels.bind_virq(2, VIRQ_TIMER, 1)); }},
    {"bind_interdomain", 1,
     [](Scene& scene) {
       const Port offered = scene.channels.alloc_unbound(2, 2, 1).value();
       EXPECT_TRUE(scene.channels.bind_interdomain(1, 2, offered));
     }},
    {"bind_interdomain that fails", 0,
     [](Scene& scene) { EXPECT_FALSE(scene.channels.bind_interdomain(1, 2, scene.to[1])); }},
    {"close", 0, [](Scene& scene) { EXPECT_TRUE(scene.channels.close(2, scene.to[0])); }},
    {"close of a loop", 2, [](Scene& scene) { EXPECT_TRUE(scene.channels.close(2, scene.world.connect(2, 2).first)); }},
    {"reset", 0, [](Scene& scene) { EXPECT_TRUE(scene.channels.reset(kDom0, 2)); }},
    {"reset of itself", 0, [](Scene& scene) { EXPECT_TRUE(scene.channels.reset(2, 2)); }},
    {"destroy", 0, [](Scene& scene) { scene.channels.destroy_domain(2); }},
};

TEST_P(FaultTest, OperationKilledAnywhereLeavesBothDomainsWhole) {
  for (const Operation& operation : kOperations) {
    for (int nth = 0;; ++nth) {
      SCOPED_TRACE(std::string(operation.name) + ", fault point " + std::to_string(nth));
      ASSERT_LT(nth, 500);
      Scene scene(GetParam());
      scene.take();
      scene.send(0);
      const bool died = dies_at(nth, [&] { operation.run(scene); });
      if (!scene.channels.domain_exists(2)) {
        scene.channels.destroy_domain(2);
        scene.world.add_guest(2, GetParam(), {.max_port = kMaxPort, .vcpus = 2});
      }
      // The next operation of each domain repairs it.
      EXPECT_FALSE(scene.channels.close(1, 0));
      EXPECT_FALSE(scene.channels.close(2, 0));
      scene.take();
      expect_whole(scene.channels, 2, kMaxPort, 4 + operation.added);
      expect_whole(scene.channels, 1, kMaxPort, 4 + operation.added);
      ASSERT_TRUE(scene.channels.reset(2, 2));
      EXPECT_TRUE(scene.channels.bind_virq(2, VIRQ_TIMER, 1)) << "a dead caller's binding";
      const auto [ours, theirs] = [&] {
        for (const Port port : scene.from) [[maybe_unused]] const XenStatus closed = scene.channels.close(1, port);
        return scene.world.connect(1, 2);
      }();
      ASSERT_TRUE(scene.channels.send(1, ours));
      EXPECT_THAT(GuestSide(scene.channels, 2).take(), testing::ElementsAre(theirs));
      if (!died) break;
    }
  }
}

TEST_P(FaultTest, BindingKilledHalfwayIsUndone) {
  for (int nth = 0;; ++nth) {
    ASSERT_LT(nth, 100);
    Scene scene(GetParam());
    const Port offered = scene.channels.alloc_unbound(2, 2, 1).value();
    const uint32_t open = scene.channels.counters(1).open_ports;
    const bool died = dies_at(nth, [&] { EXPECT_TRUE(scene.channels.bind_interdomain(1, 2, offered)); });
    if (!died) break;
    // Either it has happened, or it can be done again.
    const auto again = scene.channels.bind_interdomain(1, 2, offered);
    EXPECT_EQ(scene.channels.counters(1).open_ports, open + 1) << nth;
    const PortStatus status = scene.channels.status(2, 2, offered).value();
    EXPECT_EQ(status.status, uint32_t{EVTCHNSTAT_interdomain}) << nth;
    if (again) {
      EXPECT_EQ(status.remote_port, *again);
    }
  }
}

// Domain 1 sends to Dom0, whose vCPU 1 serves. Nothing waits.
struct Dom0Scene {
  explicit Dom0Scene(Abi abi, int channel_count = 1) : channels(world.channels) {
    EXPECT_TRUE(create_dom0(channels, abi));
    world.add_guest(1, abi);
    attach();
    for (int i = 0; i < channel_count; ++i) {
      from.push_back(channels.alloc_unbound(1, 1, kDom0).value());
      to.push_back(consumer->bind_interdomain(1, from.back()).value());
    }
    take();
  }
  void attach() { consumer.emplace(Consumer::attach(channels, kVcpu).value()); }
  void send(int channel = 0) { ASSERT_TRUE(channels.send(1, from[channel])); }
  std::vector<Port> take(uint32_t budget = 256) {
    std::vector<Port> all;
    while (consumer->drain([&](Port port) { all.push_back(port); }, budget) != 0) {
    }
    return all;
  }
  static constexpr VcpuId kVcpu = 1;

  World world;
  EventChannels& channels;
  std::optional<Consumer> consumer;
  std::vector<Port> from, to;
};

TEST_P(FaultTest, SendersKilledAtRandomMomentsLeaveNoPortStuck) {
  Dom0Scene scene(GetParam(), 30);
  for (unsigned kill_after = 50; kill_after < 70; ++kill_after) {
    const pid_t child = fork();
    if (child == 0) {
      for (unsigned i = kill_after;; i = i * 1103515245 + 12345) {
        [[maybe_unused]] const XenStatus sent = scene.channels.send(1, scene.from[i / 65536 % scene.from.size()]);
      }
    }
    for (uint32_t served = 0; served < kill_after;) served += scene.consumer->drain([](Port) {}, 7);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    for (int channel = 0; channel < 30; ++channel) scene.send(channel);
    const std::vector<Port> taken = scene.take(7);
    ASSERT_EQ(std::set<Port>(taken.begin(), taken.end()).size(), scene.to.size()) << kill_after;
  }
}

// Dom0's channels have a shortcut past the lock, which must not pass by what a dead sender has left.
TEST_P(FaultTest, Dom0HearsOfWhatADeadSenderHasBegun) {
  for (const bool repaired : {false, true}) {
    for (int nth = 0;; ++nth) {
      SCOPED_TRACE(nth);
      ASSERT_LT(nth, 100);
      Dom0Scene scene(GetParam());
      const bool died = dies_at(nth, [&] { scene.send(); });
      const bool begun = in_journal(kDom0);
      if (repaired) {
        scene.channels.repair_dom0();
        EXPECT_FALSE(in_journal(kDom0));
        const std::vector<Port> taken = scene.take();
        if (begun || !died) {
          EXPECT_THAT(taken, testing::Contains(scene.to[0]));
        }
      }
      scene.send();
      EXPECT_THAT(scene.take(), testing::Contains(scene.to[0]));
      if (!died) break;
    }
  }
}

// 1. A sender dies in the middle. 2. Who repairs has delivered its event, and Dom0 has served it. 3. Another sender
// dies as the first. 4. Who repairs looks into the journal again, and finds the same port.
TEST_P(FaultTest, ASecondDeathDuringTheRepairOfTheFirstLosesNothing) {
  Dom0Scene scene(GetParam());
  static std::function<void()> between;
  const auto die = [&] {
    int nth = 0;
    while (dies_at(nth, [&] { scene.send(); }) && !in_journal(kDom0)) ++nth;
    EXPECT_TRUE(in_journal(kDom0));
  };
  die();
  bool second = false;
  between = [&] {
    if (std::exchange(second, true)) return;
    scene.take();
    die();
  };
  fault_hook = [](const char* point) {
    if (std::string_view(point) == "deliver: unlocked") between();
  };
  scene.channels.repair_dom0();
  fault_hook = nullptr;
  EXPECT_TRUE(second);
  EXPECT_FALSE(in_journal(kDom0));
  EXPECT_THAT(scene.take(), testing::Contains(scene.to[0]));
}

TEST_P(FaultTest, ConsumerKilledWhileItSucceedsAnotherIsSucceededInTurn) {
  for (int nth = 0;; ++nth) {
    SCOPED_TRACE(nth);
    ASSERT_LT(nth, 1000);
    Dom0Scene scene(GetParam(), 8);
    for (int channel = 0; channel < 8; ++channel) scene.send(channel);
    std::set<Port> unserved(scene.to.begin(), scene.to.end());
    scene.consumer->drain([&](Port port) { unserved.erase(port); }, 2);
    scene.consumer.reset();
    const bool died = dies_at(nth, [&] { EXPECT_TRUE(Consumer::attach(scene.channels, Dom0Scene::kVcpu)); });
    scene.attach();
    const std::vector<Port> taken = scene.take();
    EXPECT_EQ(std::set<Port>(taken.begin(), taken.end()), unserved);
    if (!died) break;
  }
}

TEST(FaultTestThreeLevel, ChangeOfAbiKilledAnywhereLosesNoEvent) {
  for (int nth = 0;; ++nth) {
    SCOPED_TRACE(nth);
    ASSERT_LT(nth, 200);
    World world;
    EventChannels& channels = world.channels;
    world.add_guest(1, Abi::kFifo);
    world.add_guest(2, Abi::kThreeLevel);
    ASSERT_TRUE(channels.reset(2, 2));
    const auto [ours, theirs] = world.connect(1, 2);
    ASSERT_TRUE(channels.send(1, ours));
    Gfn pending[kBitmapFrames], mask[kBitmapFrames];
    for (uint32_t index = 0; index < kBitmapFrames; ++index) {
      pending[index] = 20 + index;
      mask[index] = 40 + index;
    }
    const bool died = dies_at(nth, [&] {
      EXPECT_TRUE(channels.register_bitmaps(2, pending, mask));
      EXPECT_TRUE(channels.register_selector(2, 0, 60, 0));
    });
    // The guest's other vCPU, say, does what the dead one did not come to.
    [[maybe_unused]] const XenStatus bitmaps = channels.register_bitmaps(2, pending, mask);
    [[maybe_unused]] const XenStatus selector = channels.register_selector(2, 0, 60, 0);
    EXPECT_EQ(channels.abi(2), Abi::kThreeLevel);
    EXPECT_THAT(GuestSide(channels, 2).take(), testing::ElementsAre(theirs));
    ASSERT_TRUE(channels.send(1, ours));
    EXPECT_THAT(GuestSide(channels, 2).take(), testing::ElementsAre(theirs));
    if (!died) break;
  }
}

TEST(FaultTestFifo, ChangeOfAbiAndGrowthKilledAnywhereLoseNoEvent) {
  for (int nth = 0;; ++nth) {
    ASSERT_LT(nth, 200);
    World world;
    EventChannels& channels = world.channels;
    world.add_guest(1, Abi::kFifo);
    world.add_guest(2, Abi::kFifo, {}, 0);
    ASSERT_TRUE(channels.reset(2, 2));
    const auto [ours, theirs] = world.connect(1, 2);
    ASSERT_TRUE(channels.send(1, ours));
    const bool died = dies_at(nth, [&] {
      uint8_t link_bits = 0;
      EXPECT_TRUE(channels.init_control(2, 0, kControlGfn, 512, link_bits));
      EXPECT_TRUE(channels.expand_array(2, kFirstArrayGfn));
    });
    // The guest's other vCPU, say, does what the dead one did not come to.
    uint8_t link_bits = 0;
    const XenStatus control = channels.init_control(2, 0, kControlGfn, 512, link_bits);
    if (channels.abi(2) == Abi::kFifo) {
      if (channels_of(2).array_pages.load() == 0) {
        ASSERT_TRUE(channels.expand_array(2, kFirstArrayGfn));
      }
      ASSERT_TRUE(channels.unmask(2, theirs));
    }
    EXPECT_THAT(GuestSide(channels, 2).take(), testing::ElementsAre(theirs)) << nth << " " << control.has_value();
    if (!died) break;
  }
}

TEST(FaultTestMemory, DestructionKilledBetweenPagesIsFinishedByWhoeverComesNext) {
  constexpr uint32_t kPorts = 2000;  // four pages and the one that leads to them
  const auto pages_after = [](std::optional<int> killed_at) {
    World world;
    world.add_guest(1, Abi::kFifo, {.max_port = kPorts});
    for (uint32_t i = 0; i < kPorts; ++i) EXPECT_TRUE(world.channels.alloc_unbound(kDom0, 1, kDom0)) << i;
    if (killed_at) {
      EXPECT_TRUE(dies_at(*killed_at, [&] { world.channels.destroy_domain(1); })) << *killed_at;
    }
    world.channels.destroy_domain(1);
    return world.machine.frames().used_pages();
  };
  const uint64_t all_free = pages_after(std::nullopt);
  for (const int bucket : {0, 1, 3}) EXPECT_EQ(pages_after(static_cast<int>(kPorts) + bucket), all_free) << bucket;
}

INSTANTIATE_TEST_SUITE_P(Abis, FaultTest, kEveryAbi, name_of_abi);

}  // namespace
}  // namespace xenopolis::event
