#include "event/consumer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <map>

#include "event/test_world.h"

namespace xenopolis::event {
namespace {

bool is_readable(int fd) {
  pollfd one{fd, POLLIN, 0};
  return poll(&one, 1, 0) == 1;
}

class ConsumerTest : public testing::TestWithParam<Abi> {
 protected:
  ConsumerTest() : channels_(world_.channels) {
    EXPECT_TRUE(create_dom0(channels_, GetParam()));
    world_.add_guest(1, Abi::kFifo, {}, 4);
  }

  // A channel between guest 1 and `consumer`: (Dom0's port, the guest's).
  std::pair<Port, Port> channel(Consumer& consumer) {
    const Port offered = channels_.alloc_unbound(1, 1, kDom0).value();
    return {consumer.bind_interdomain(1, offered).value(), offered};
  }
  static std::vector<Port> drain(Consumer& consumer, uint32_t budget = 100'000) {
    std::vector<Port> served;
    consumer.drain([&](Port port) { served.push_back(port); }, budget);
    return served;
  }

  World world_;
  EventChannels& channels_;
};

TEST_P(ConsumerTest, BindingGivesOneEventOnTheRightVcpu) {
  Consumer first = Consumer::attach(channels_, 0).value();
  Consumer third = Consumer::attach(channels_, 2).value();
  drain(third);
  drain(first);
  const auto [port, offered] = channel(third);
  EXPECT_TRUE(is_readable(third.fd()));
  EXPECT_FALSE(is_readable(first.fd()));
  EXPECT_THAT(drain(third), testing::ElementsAre(port));
  EXPECT_FALSE(is_readable(third.fd()));
  ASSERT_TRUE(channels_.send(1, offered));
  EXPECT_TRUE(is_readable(third.fd()));
  EXPECT_THAT(drain(first), testing::IsEmpty());
  EXPECT_THAT(drain(third), testing::ElementsAre(port));
  EXPECT_EQ(third.events_served(), 2u);
}

TEST_P(ConsumerTest, ThousandsOfPendingPortsAreServedOnceEachWithinBudgets) {
  Consumer consumer = Consumer::attach(channels_, 1).value();
  std::map<Port, int> served;
  std::vector<Port> offered;
  for (int i = 0; i < 2500; ++i) {
    const auto [port, theirs] = channel(consumer);
    served[port] = 0;
    offered.push_back(theirs);
  }
  drain(consumer);
  for (const Port port : offered) ASSERT_TRUE(channels_.send(1, port));
  int rounds = 0;
  for (; is_readable(consumer.fd()); ++rounds) {
    ASSERT_LE(consumer.drain([&](Port port) { ++served[port]; }, 100), 100u);
  }
  EXPECT_LE(rounds, 27);
  for (const auto& [port, times] : served) ASSERT_EQ(times, 1) << port;
}

TEST_P(ConsumerTest, ABusyChannelDoesNotStarveTheOthers) {
  Consumer consumer = Consumer::attach(channels_, 1).value();
  Port busy = 0, busy_offered = 0;
  std::tie(busy, busy_offered) = channel(consumer);
  std::map<Port, int> served;
  std::vector<Port> offered;
  for (int i = 0; i < 100; ++i) offered.push_back(channel(consumer).second);
  drain(consumer);
  for (const Port port : offered) ASSERT_TRUE(channels_.send(1, port));
  ASSERT_TRUE(channels_.send(1, busy_offered));
  for (int round = 0; round < 150; ++round) {
    consumer.drain(
        [&](Port port) {
          ++served[port];
          if (port == busy) {
            EXPECT_TRUE(channels_.send(1, busy_offered));
          }
        },
        1);
  }
  EXPECT_EQ(served.size(), 101u);
}

TEST_P(ConsumerTest, HandlersMaySendBindAndClose) {
  Consumer consumer = Consumer::attach(channels_, 1).value();
  Port first = 0, first_offered = 0, second = 0, second_offered = 0;
  std::tie(first, first_offered) = channel(consumer);
  std::tie(second, second_offered) = channel(consumer);
  drain(consumer);
  ASSERT_TRUE(channels_.send(1, first_offered));
  ASSERT_TRUE(channels_.send(1, second_offered));
  std::vector<Port> served;
  Port bound = 0;
  while (consumer.drain([&](Port port) {
    served.push_back(port);
    if (port != first) return;
    EXPECT_TRUE(consumer.send(first));
    EXPECT_TRUE(consumer.close(second));
    bound = channel(consumer).first;
  }) != 0) {
  }
  EXPECT_THAT(served, testing::ElementsAre(first, bound));
}

TEST_P(ConsumerTest, MaskedPortWaits) {
  Consumer consumer = Consumer::attach(channels_, 1).value();
  const auto [port, offered] = channel(consumer);
  drain(consumer);
  consumer.mask(port);
  ASSERT_TRUE(channels_.send(1, offered));
  EXPECT_THAT(drain(consumer), testing::IsEmpty());
  ASSERT_TRUE(consumer.unmask(port));
  EXPECT_TRUE(is_readable(consumer.fd()));
  EXPECT_THAT(drain(consumer), testing::ElementsAre(port));
}

TEST_P(ConsumerTest, SuccessorServesWhatThePredecessorLeft) {
  std::vector<Port> ports;
  {
    Consumer dead = Consumer::attach(channels_, 1).value();
    std::vector<Port> offered;
    for (int i = 0; i < 300; ++i) {
      const auto [port, theirs] = channel(dead);
      ports.push_back(port);
      offered.push_back(theirs);
    }
    drain(dead);
    for (const Port port : offered) ASSERT_TRUE(channels_.send(1, port));
    // It dies with the rest of the list in its own memory.
    EXPECT_EQ(drain(dead, 100).size(), 100u);
  }
  Consumer successor = Consumer::attach(channels_, 1).value();
  EXPECT_TRUE(is_readable(successor.fd()));
  EXPECT_THAT(drain(successor), testing::UnorderedElementsAreArray(ports.begin() + 100, ports.end()));
  const auto [port, offered] = channel(successor);
  EXPECT_THAT(drain(successor), testing::ElementsAre(port));
}

TEST_P(ConsumerTest, SuccessorIsWokenAlthoughThePredecessorLeftItsDoorbellMarked) {
  Port offered = 0;
  {
    Consumer dead = Consumer::attach(channels_, 1).value();
    offered = channel(dead).second;
    drain(dead);
    ASSERT_TRUE(channels_.send(1, offered));
    // It dies in drain(), after its first step.
    uint64_t count = 0;
    ASSERT_EQ(read(dead.fd(), &count, sizeof count), static_cast<ssize_t>(sizeof count));
  }
  Consumer successor = Consumer::attach(channels_, 1).value();
  EXPECT_TRUE(is_readable(successor.fd()));
  EXPECT_EQ(drain(successor).size(), 1u);
  ASSERT_TRUE(channels_.send(1, offered));
  EXPECT_TRUE(is_readable(successor.fd()));
}

TEST_P(ConsumerTest, VirtualInterruptsOfDom0) {
  Consumer consumer = Consumer::attach(channels_, 0).value();
  const Port port = consumer.bind_virq(VIRQ_DOM_EXC).value();
  drain(consumer);
  channels_.raise_virq(kDom0, 0, VIRQ_DOM_EXC);
  EXPECT_THAT(drain(consumer), testing::ElementsAre(port));
}

TEST_P(ConsumerTest, UnknownVcpuIsRefused) {
  EXPECT_FALSE(Consumer::attach(channels_, machine::kDom0VcpuCount));
}

INSTANTIATE_TEST_SUITE_P(Abis, ConsumerTest, kEveryAbi, name_of_abi);

TEST(TwoLevelConsumer, Dom0RunsOutOfPortsAt4096) {
  World world;
  ASSERT_TRUE(create_dom0(world.channels, Abi::kTwoLevel));
  world.add_guest(1, Abi::kFifo, {}, 8);
  Consumer consumer = Consumer::attach(world.channels, 1).value();
  for (int bound = 1; bound < 4096; ++bound) {
    ASSERT_TRUE(consumer.bind_interdomain(1, world.channels.alloc_unbound(1, 1, kDom0).value())) << bound;
  }
  const auto one_more = consumer.bind_interdomain(1, world.channels.alloc_unbound(1, 1, kDom0).value());
  ASSERT_FALSE(one_more);
  EXPECT_EQ(one_more.error(), XenErrno::kNoSpc);
}

TEST(FifoConsumer, HigherPrioritiesFirstAndFirstComeWithinOne) {
  World world;
  EventChannels& channels = world.channels;
  ASSERT_TRUE(create_dom0(channels, Abi::kFifo));
  world.add_guest(1, Abi::kFifo);
  Consumer consumer = Consumer::attach(channels, 3).value();
  std::vector<Port> ports, offered;
  for (int i = 0; i < 6; ++i) {
    offered.push_back(channels.alloc_unbound(1, 1, kDom0).value());
    ports.push_back(consumer.bind_interdomain(1, offered.back()).value());
  }
  consumer.drain([](Port) {});
  for (const int high : {1, 4}) ASSERT_TRUE(channels.set_priority(kDom0, ports[high], 0));
  ASSERT_TRUE(channels.set_priority(kDom0, ports[2], EVTCHN_FIFO_PRIORITY_MIN));
  for (const Port port : offered) ASSERT_TRUE(channels.send(1, port));
  std::vector<Port> served;
  consumer.drain([&](Port port) { served.push_back(port); });
  EXPECT_THAT(served, testing::ElementsAre(ports[1], ports[4], ports[0], ports[3], ports[5], ports[2]));
}

TEST(FifoConsumer, ArrayGrowsWithThePorts) {
  World world;
  ASSERT_TRUE(create_dom0(world.channels, Abi::kFifo));
  world.add_guest(1, Abi::kFifo, {}, 8);
  Consumer consumer = Consumer::attach(world.channels, 1).value();
  Port last = 0, last_offered = 0;
  for (int bound = 0; bound < 5000; ++bound) {
    last_offered = world.channels.alloc_unbound(1, 1, kDom0).value();
    last = consumer.bind_interdomain(1, last_offered).value();
  }
  EXPECT_EQ(consumer.drain([](Port) {}, 10'000), 5000u);
  ASSERT_TRUE(world.channels.send(1, last_offered));
  EXPECT_EQ(consumer.drain([&](Port port) { EXPECT_EQ(port, last); }), 1u);
}

}  // namespace
}  // namespace xenopolis::event
