// Port numbers that do not fit 16 bits, in every operation; and the bugs of Linux' side of event channels, as claims
// about our consumer. docs/known-bugs.md says which is which.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event/known_bugs_test.h"

namespace xenopolis::event {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// "IRQ: u16 is too narrow for an event channel number", and Linux' change from unsigned short to unsigned int before it
// could speak FIFO. Domain 2 uses the ABI's last port numbers; 2-level, whose numbers are all short, shows that the
// test is right.
class HighPorts : public testing::TestWithParam<Abi> {
 protected:
  HighPorts() : channels_(world_.channels), one_(channels_, 1), two_(channels_, 2) {
    world_.add_guest(1, Abi::kFifo);
    world_.add_guest(2, GetParam(), {.vcpus = 2}, GetParam() == Abi::kFifo ? kMaxArrayPages : 0);
  }
  // Channels from domain 1 to domain 2's last ports but a few.
  void connect() {
    first_ = ports_of(GetParam()) - 12;
    open_ports_up_to(channels_, 2, first_ - 1);
    for (Port i = 0; i < 4; ++i) {
      std::tie(from_[i], to_[i]) = world_.connect(1, 2);
      ASSERT_EQ(to_[i], first_ + i);
    }
    one_.take();
  }
  bool is_high() const { return first_ > 0xffff; }
  static Port low_bits(Port port) { return port & 0xffff; }

  void expect_events_reach_their_port_and_no_other();
  void expect_mask_and_priority_and_vcpu_are_theirs();
  void expect_polls_distinguish_them();
  void expect_virtual_interrupts_and_ipis_reach_them();
  void expect_closing_frees_them_and_no_other();

  World world_;
  EventChannels& channels_;
  GuestSide one_, two_;
  Port first_ = 0, from_[4], to_[4];
};

void HighPorts::expect_events_reach_their_port_and_no_other() {
  for (const int channel : {3, 0, 2}) ASSERT_TRUE(channels_.send(1, from_[channel]));
  if (GetParam() == Abi::kFifo) {
    EXPECT_EQ(two_.control().head[EVTCHN_FIFO_PRIORITY_DEFAULT], to_[3]);
    EXPECT_EQ(two_.word_of(to_[3]).load() & kLinkMask, to_[0]);
    EXPECT_EQ(two_.word_of(to_[0]).load() & kLinkMask, to_[2]);
  }
  for (const Port port : to_) {
    if (is_high()) {
      EXPECT_FALSE(channels_.status(2, 2, low_bits(port))->pending);
    }
  }
  EXPECT_THAT(two_.take(), testing::UnorderedElementsAre(to_[0], to_[2], to_[3]));
  ASSERT_TRUE(channels_.send(2, to_[1]));
  EXPECT_THAT(one_.take(), ElementsAre(from_[1]));
}

void HighPorts::expect_mask_and_priority_and_vcpu_are_theirs() {
  two_.set_mask(to_[0], true);
  ASSERT_TRUE(channels_.send(1, from_[0]));
  EXPECT_THAT(two_.take(), IsEmpty());
  ASSERT_TRUE(channels_.bind_vcpu(2, to_[0], 1));
  EXPECT_EQ(channels_.status(2, 2, to_[0])->vcpu, 1u);
  if (GetParam() == Abi::kFifo) {
    ASSERT_TRUE(channels_.set_priority(2, to_[0], 3));
    EXPECT_EQ(channels_.status(2, 2, to_[0])->priority, 3);
    EXPECT_EQ(channels_.status(2, 2, low_bits(to_[0]))->priority, EVTCHN_FIFO_PRIORITY_DEFAULT);
  }
  ASSERT_TRUE(channels_.unmask(2, to_[0]));
  EXPECT_THAT(GuestSide(channels_, 2, 1).take(), ElementsAre(to_[0]));
}

void HighPorts::expect_polls_distinguish_them() {
  machine::Doorbells& bells = world_.machine.doorbells();
  channels_.set_doorbell(2, 0, 7, 0);
  bells.take(7);
  for (const Port port : to_) two_.set_mask(port, true);
  if (is_high()) {
    const Port alias = low_bits(to_[0]);
    ASSERT_FALSE(channels_.begin_poll(2, 0, &alias, 1).value());
    ASSERT_TRUE(channels_.send(1, from_[0]));
    EXPECT_EQ(bells.take(7), 0u);
    channels_.end_poll(2, 0);
    EXPECT_TRUE(channels_.begin_poll(2, 0, &to_[0], 1).value()) << "pending already";
  }
  ASSERT_FALSE(channels_.begin_poll(2, 0, &to_[1], 1).value());
  ASSERT_TRUE(channels_.send(1, from_[1]));
  EXPECT_EQ(bells.take(7), 1u);
  channels_.end_poll(2, 0);
  for (const Port port : to_) ASSERT_TRUE(channels_.unmask(2, port));
  two_.take();
  GuestSide(channels_, 2, 1).take();
}

void HighPorts::expect_virtual_interrupts_and_ipis_reach_them() {
  const Port timer = channels_.bind_virq(2, VIRQ_TIMER, 1).value();
  const Port ipi = channels_.bind_ipi(2, 1).value();
  ASSERT_GT(timer, to_[3]);
  EXPECT_EQ(channels_.status(2, 2, timer)->virq, uint32_t{VIRQ_TIMER});
  channels_.raise_virq(2, 1, VIRQ_TIMER);
  ASSERT_TRUE(channels_.send(2, ipi));
  EXPECT_THAT(GuestSide(channels_, 2, 1).take(), ElementsAre(timer, ipi));
  ASSERT_TRUE(channels_.close(2, timer));
  channels_.raise_virq(2, 1, VIRQ_TIMER);
  EXPECT_THAT(GuestSide(channels_, 2, 1).take(), IsEmpty());
}

void HighPorts::expect_closing_frees_them_and_no_other() {
  EXPECT_EQ(channels_.status(1, 1, from_[2])->remote_port, to_[2]);
  ASSERT_TRUE(channels_.close(1, from_[2]));
  EXPECT_EQ(channels_.status(kDom0, 2, to_[2])->status, uint32_t{EVTCHNSTAT_unbound});
  EXPECT_EQ(channels_.status(2, 2, to_[2])->remote_domid, 1);
  if (is_high()) {
    EXPECT_EQ(channels_.status(2, 2, low_bits(to_[2]))->remote_domid, 2) << "still its own";
  }
  const Port again = channels_.bind_interdomain(1, 2, to_[2]).value();
  EXPECT_EQ(channels_.status(1, 1, again)->remote_port, to_[2]);
  ASSERT_TRUE(channels_.close(2, to_[2]));
  EXPECT_EQ(channels_.status(2, 2, to_[2])->status, uint32_t{EVTCHNSTAT_closed});
  EXPECT_EQ(channels_.status(1, 1, again)->status, uint32_t{EVTCHNSTAT_unbound});
  if (is_high()) {
    EXPECT_EQ(channels_.status(2, 2, low_bits(to_[2]))->status, uint32_t{EVTCHNSTAT_unbound});
  }
}

TEST_P(HighPorts, EveryOperationMeansThemAndNoPortThatEndsInTheSameSixteenBits) {
  connect();
  expect_events_reach_their_port_and_no_other();
  expect_mask_and_priority_and_vcpu_are_theirs();
  expect_polls_distinguish_them();
  expect_virtual_interrupts_and_ipis_reach_them();
  expect_closing_frees_them_and_no_other();
}

// The journal of a delivery has room for every port number.
TEST_P(HighPorts, TheEventOfASenderThatWasKilledIsDeliveredToThem) {
  connect();
  for (int nth = 0;; ++nth) {
    ASSERT_LT(nth, 50);
    const pid_t child = fork();
    if (child == 0) {
      static int passes_left;
      passes_left = nth;
      fault_hook = [](const char*) {
        if (passes_left-- == 0) kill(getpid(), SIGKILL);
      };
      [[maybe_unused]] const XenStatus sent = channels_.send(1, from_[0]);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    const bool begun = channels_of(2).vcpus[0].journal.load() != 0;
    ASSERT_TRUE(channels_.send(1, from_[1]));
    const std::vector<Port> taken = two_.take();
    EXPECT_THAT(taken, testing::Contains(to_[1])) << nth;
    EXPECT_THAT(taken, testing::Each(testing::AnyOf(to_[0], to_[1]))) << nth;
    if (begun) {
      EXPECT_THAT(taken, testing::Contains(to_[0])) << nth;
    }
    if (!WIFSIGNALED(status)) break;
  }
}

TEST_P(HighPorts, AConsumerServesThem) {
  ASSERT_TRUE(create_dom0(channels_, GetParam()));
  const Port last = ports_of(GetParam()) - 2;
  open_ports_up_to(channels_, kDom0, last);
  Consumer consumer = Consumer::attach(channels_, 1).value();
  const Port offered = channels_.alloc_unbound(1, 1, kDom0).value();
  const Port port = consumer.bind_interdomain(1, offered).value();
  ASSERT_EQ(port, last + 1);
  const auto drain = [&] {
    std::vector<Port> served;
    consumer.drain([&](Port one) { served.push_back(one); });
    return served;
  };
  EXPECT_THAT(drain(), ElementsAre(port));
  consumer.mask(port);
  ASSERT_TRUE(channels_.send(1, offered));
  EXPECT_THAT(drain(), IsEmpty());
  ASSERT_TRUE(consumer.unmask(port));
  EXPECT_THAT(drain(), ElementsAre(port));
  ASSERT_TRUE(consumer.send(port));
  EXPECT_THAT(one_.take(), ElementsAre(offered));
  ASSERT_TRUE(consumer.close(port));
}

INSTANTIATE_TEST_SUITE_P(Abis, HighPorts, kEveryAbi, name_of_abi);

// --- the consumer

class KnownConsumerBug : public testing::TestWithParam<Abi> {
 protected:
  KnownConsumerBug() : channels_(world_.channels) {
    EXPECT_TRUE(create_dom0(channels_, GetParam()));
    world_.add_guest(1, Abi::kFifo);
  }
  std::pair<Port, Port> channel(Consumer& consumer) {
    const Port offered = channels_.alloc_unbound(1, 1, kDom0).value();
    return {consumer.bind_interdomain(1, offered).value(), offered};
  }

  World world_;
  EventChannels& channels_;
};

// XSA-331: an event channel that goes away while it is handled. XSA-441: the lock that should prevent that deadlocked.
TEST_P(KnownConsumerBug, AHandlerMayCloseItsOwnPortAndIsNotCalledAgain) {
  Consumer consumer = Consumer::attach(channels_, 1).value();
  const auto [port, offered] = channel(consumer);
  int calls = 0;
  const auto handler = [&, port = port, offered = offered](Port served) {
    ASSERT_EQ(served, port);
    ++calls;
    ASSERT_TRUE(channels_.send(1, offered));  // pending again, and queued again
    ASSERT_TRUE(consumer.close(port));
    ASSERT_TRUE(channels_.send(1, offered));  // to nobody
  };
  for (int round = 0; round < 3; ++round) consumer.drain(handler);
  EXPECT_EQ(calls, 1);
  // Its number, when it comes back, belongs to the next channel alone.
  const auto [next, next_offered] = channel(consumer);
  EXPECT_EQ(next, port);
  ASSERT_TRUE(channels_.send(1, offered));
  std::vector<Port> served;
  while (consumer.drain([&](Port one) { served.push_back(one); }) != 0) {
  }
  EXPECT_THAT(served, ElementsAre(next)) << "the event that binding leaves";
}

// Linux, "xen/events: fix race in evtchn_fifo_unmask()": a port that was unmasked a second time after its handler had
// masked it.
TEST_P(KnownConsumerBug, APortThatItsHandlerMasksStaysMaskedUntilItIsUnmaskedOnce) {
  Consumer consumer = Consumer::attach(channels_, 1).value();
  const auto [port, offered] = channel(consumer);
  int calls = 0;
  const auto handler = [&](Port served) {
    ++calls;
    consumer.mask(served);
  };
  EXPECT_EQ(consumer.drain(handler), 1u);
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(channels_.send(1, offered));
    EXPECT_EQ(consumer.drain(handler), 0u);
    ASSERT_TRUE(consumer.unmask(port));
    EXPECT_EQ(consumer.drain(handler), 1u);
    EXPECT_TRUE(channels_.status(kDom0, kDom0, port)->masked);
    EXPECT_EQ(consumer.drain(handler), 0u);
  }
  EXPECT_EQ(calls, 4);
}

// Linux, "xen/evtchn: dynamically grow pending event channel ring": more pending ports than the ring had room for.
TEST_P(KnownConsumerBug, AsManyPortsAsThereAreMayBePendingAtOnce) {
  constexpr uint32_t kPorts = 4000;
  Consumer consumer = Consumer::attach(channels_, 1).value();
  world_.add_guest(2, Abi::kFifo, {}, 4);
  std::vector<bool> served(kPorts + 100);
  for (uint32_t i = 0; i < kPorts; ++i) {
    ASSERT_TRUE(consumer.bind_interdomain(2, channels_.alloc_unbound(2, 2, kDom0).value()));
  }
  uint32_t sum = 0;
  while (consumer.drain([&](Port port) {
    ASSERT_FALSE(served[port]);
    served[port] = true;
    ++sum;
  }) != 0) {
  }
  EXPECT_EQ(sum, kPorts);
}

INSTANTIATE_TEST_SUITE_P(Abis, KnownConsumerBug, kEveryAbi, name_of_abi);

}  // namespace
}  // namespace xenopolis::event
