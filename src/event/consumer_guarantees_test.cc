// What a consumer of Dom0 promises whatever the senders do: its order, its bounds, and that nothing is lost
// (docs/life-of-an-event.md, "What a consumer promises").
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <map>
#include <set>

#include "base/fault_point.h"
#include "event/test_world.h"

namespace xenopolis::event {
namespace {

struct Channel {
  Port port = 0;     // Dom0's
  Port offered = 0;  // the guest's
};

class Guarantees : public testing::TestWithParam<Abi> {
 protected:
  static constexpr DomId kStorm = 1, kVictim = 2;

  Guarantees() : channels_(world_.channels) {
    EXPECT_TRUE(create_dom0(channels_, GetParam()));
    world_.add_guest(kStorm, Abi::kFifo, {}, 4);
    world_.add_guest(kVictim, Abi::kFifo, {}, 4);
  }

  Channel channel(Consumer& consumer, DomId domid) {
    const Port offered = channels_.alloc_unbound(domid, domid, kDom0).value();
    return {consumer.bind_interdomain(domid, offered).value(), offered};
  }
  std::vector<Channel> make_channels(Consumer& consumer, DomId domid, int count) {
    std::vector<Channel> made;
    for (int i = 0; i < count; ++i) made.push_back(channel(consumer, domid));
    return made;
  }
  static void drain_all(Consumer& consumer) {
    while (consumer.drain([](Port) {}) != 0) {
    }
  }

  World world_;
  EventChannels& channels_;
};

// The storm's domain sends again whenever one of its events is being served: it could not do more by sending in a loop.
// A victim's event waits while every channel of the storm is served once (FIFO), or twice (bitmaps: what is left of the
// round that is under way, and one whole round).
TEST_P(Guarantees, AStormDelaysOthersByItsOwnChannelsAndNoMore) {
  constexpr int kStormChannels = 150, kVictims = 40;
  const int bound = GetParam() == Abi::kFifo ? kStormChannels : 2 * kStormChannels;
  Consumer consumer = Consumer::attach(channels_, 1).value();
  // Mixed, so that in the bitmaps they share words.
  std::map<Port, Port> storm, victims;
  for (int i = 0; i < kStormChannels; ++i) {
    const Channel of_storm = channel(consumer, kStorm);
    storm[of_storm.port] = of_storm.offered;
    if (i >= kVictims) continue;
    const Channel of_victim = channel(consumer, kVictim);
    victims[of_victim.port] = of_victim.offered;
  }
  drain_all(consumer);
  for (const auto& [port, offered] : storm) ASSERT_TRUE(channels_.send(kStorm, offered));
  auto next_victim = victims.begin();
  std::map<Port, int> waiting;  // victims' ports: storm events since they sent
  int served_victims = 0, longest = 0;
  for (int round = 0; round < 20'000 && served_victims < kVictims; ++round) {
    consumer.drain(
        [&](Port port) {
          if (const auto found = storm.find(port); found != storm.end()) {
            EXPECT_TRUE(channels_.send(kStorm, found->second));
            for (auto& [victim, delay] : waiting) longest = std::max(longest, ++delay);
          } else {
            EXPECT_EQ(waiting.erase(port), 1u);
            ++served_victims;
          }
        },
        1 + static_cast<uint32_t>(round) % 7);
    if (round % 11 != 0 || next_victim == victims.end()) continue;
    ASSERT_TRUE(channels_.send(kVictim, next_victim->second));
    waiting[next_victim->first] = 0;
    ++next_victim;
  }
  EXPECT_EQ(served_victims, kVictims);
  EXPECT_LE(longest, bound);
}

TEST_P(Guarantees, SendingInALoopTakesNoLockThatOthersNeed) {
  Consumer consumer = Consumer::attach(channels_, 1).value();
  const Channel busy = channel(consumer, kStorm);
  drain_all(consumer);
  static int locks = 0;
  locks = 0;
  fault_hook = [](const char* name) { locks += std::string_view(name) == "deliver: locked" ? 1 : 0; };
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(channels_.send(kStorm, busy.offered));
  EXPECT_EQ(locks, 1) << "until Dom0 has served it";
  EXPECT_EQ(consumer.drain([](Port) {}), 1u);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(channels_.send(kStorm, busy.offered));
  EXPECT_EQ(locks, 2);
  consumer.mask(busy.port);
  EXPECT_EQ(consumer.drain([](Port) {}), 0u);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(channels_.send(kStorm, busy.offered));
  EXPECT_EQ(locks, 2) << "masked";
  fault_hook = nullptr;
  ASSERT_TRUE(consumer.unmask(busy.port));
  EXPECT_EQ(consumer.drain([](Port) {}), 1u);
}

TEST_P(Guarantees, ControlReturnsAfterTheBudgetHoweverMuchIsSentMeanwhile) {
  Consumer consumer = Consumer::attach(channels_, 1).value();
  const std::vector<Channel> storm = make_channels(consumer, kStorm, 20);
  std::map<Port, Port> offered;
  for (const Channel& one : storm) offered[one.port] = one.offered;
  drain_all(consumer);
  for (const Channel& one : storm) ASSERT_TRUE(channels_.send(kStorm, one.offered));
  for (const uint32_t budget : {1u, 5u, 64u, 1000u}) {
    const uint32_t served =
        consumer.drain([&](Port port) { EXPECT_TRUE(channels_.send(kStorm, offered.at(port))); }, budget);
    EXPECT_EQ(served, budget);
    pollfd readable{consumer.fd(), POLLIN, 0};
    EXPECT_EQ(poll(&readable, 1, 0), 1) << "there is more";
  }
}

TEST_P(Guarantees, NeverMoreThanOnceForOneEventAndNothingWhenQuiet) {
  Consumer consumer = Consumer::attach(channels_, 1).value();
  const std::vector<Channel> many = make_channels(consumer, kVictim, 3000);
  drain_all(consumer);
  std::map<Port, int> served;
  for (const Channel& one : many) ASSERT_TRUE(channels_.send(kVictim, one.offered));
  uint32_t drained = 0;
  while (const uint32_t now = consumer.drain([&](Port port) { ++served[port]; }, 333)) drained += now;
  EXPECT_EQ(drained, 3000u);
  for (const auto& [port, times] : served) ASSERT_EQ(times, 1) << port;
  pollfd readable{consumer.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&readable, 1, 0), 0);
  EXPECT_EQ(consumer.drain([](Port) {}), 0u);
}

TEST_P(Guarantees, MaskingAndUnmaskingLosesNothing) {
  Consumer consumer = Consumer::attach(channels_, 1).value();
  const std::vector<Channel> some = make_channels(consumer, kVictim, 30);
  drain_all(consumer);
  std::multiset<Port> served;
  const auto serve = [&](Port port) { served.insert(port); };
  for (size_t i = 0; i < some.size(); ++i) {
    const auto& [port, offered] = some[i];
    if (i % 3 == 0) consumer.mask(port);  // before the event
    ASSERT_TRUE(channels_.send(kVictim, offered));
    if (i % 3 == 1) consumer.mask(port);  // while it is queued
    if (i % 3 == 2) {                     // and at once open again
      consumer.mask(port);
      ASSERT_TRUE(consumer.unmask(port));
    }
  }
  while (consumer.drain(serve, 4) != 0) {
  }
  EXPECT_EQ(served.size(), 10u);
  for (size_t i = 0; i < some.size(); ++i) {
    EXPECT_EQ(served.count(some[i].port), i % 3 == 2 ? 1u : 0u);
    ASSERT_TRUE(consumer.unmask(some[i].port));
  }
  while (consumer.drain(serve, 4) != 0) {
  }
  for (const Channel& one : some) EXPECT_EQ(served.count(one.port), 1u);
}

TEST_P(Guarantees, PortMovesToAnotherVcpuWithTheEventThatWaits) {
  Consumer first = Consumer::attach(channels_, 1).value();
  Consumer second = Consumer::attach(channels_, 2).value();
  const Channel moving = channel(first, kVictim), staying = channel(first, kVictim);
  drain_all(first);
  drain_all(second);
  ASSERT_TRUE(channels_.send(kVictim, moving.offered));
  ASSERT_TRUE(channels_.send(kVictim, staying.offered));
  ASSERT_TRUE(second.take_over(moving.port));
  std::multiset<Port> at_first, at_second;
  first.drain([&](Port port) { at_first.insert(port); });
  second.drain([&](Port port) { at_second.insert(port); });
  EXPECT_EQ(at_first.count(staying.port), 1u);
  EXPECT_EQ(at_first.count(moving.port) + at_second.count(moving.port), 1u);
  ASSERT_TRUE(channels_.send(kVictim, moving.offered));
  EXPECT_EQ(first.drain([](Port) {}), 0u);
  EXPECT_EQ(second.drain([&](Port port) { EXPECT_EQ(port, moving.port); }), 1u);
  EXPECT_FALSE(second.take_over(4000));
}

INSTANTIATE_TEST_SUITE_P(Abis, Guarantees, kEveryAbi, name_of_abi);

// Higher priorities first, as long as there are any: that is what priority means. Within one priority the bound of a
// storm holds.
TEST(FifoGuarantees, LowPriorityWaitsForHigherOnesAndForNobodyElse) {
  World world;
  EventChannels& channels = world.channels;
  ASSERT_TRUE(create_dom0(channels, Abi::kFifo));
  world.add_guest(1, Abi::kFifo);
  Consumer consumer = Consumer::attach(channels, 1).value();
  const auto make = [&](uint32_t priority) {
    const Port offered = channels.alloc_unbound(1, 1, kDom0).value();
    const Port port = consumer.bind_interdomain(1, offered).value();
    EXPECT_TRUE(channels.set_priority(kDom0, port, priority));
    return Channel{port, offered};
  };
  const Channel high = make(2), low = make(12), low_storm = make(12), lowest_storm = make(15);
  while (consumer.drain([](Port) {}) != 0) {
  }
  for (const Channel& one : {lowest_storm, low_storm, low, high}) ASSERT_TRUE(channels.send(1, one.offered));
  std::vector<Port> order;
  int high_left = 5;
  for (int i = 0; i < 9; ++i) {
    consumer.drain(
        [&](Port port) {
          order.push_back(port);
          if (port == high.port && high_left-- > 0) {
            EXPECT_TRUE(channels.send(1, high.offered));
          }
          if (port == low_storm.port) {
            EXPECT_TRUE(channels.send(1, low_storm.offered));
          }
        },
        1);
  }
  const Port h = high.port, s = low_storm.port;
  EXPECT_THAT(order, testing::ElementsAre(h, h, h, h, h, h, s, low.port, s));
}

}  // namespace
}  // namespace xenopolis::event
