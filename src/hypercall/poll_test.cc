// SCHEDOP_poll: when it sleeps, until when, and what it refuses. Waking: runner_test, the guests' poll test.
#include <gtest/gtest.h>

#include "event/fifo.h"
#include "event/port_table.h"
#include "hypercall/bounce.h"
#include "hypercall/test_domain.h"

namespace xenopolis::hypercall {
namespace {

using domain::AfterHypercall;

class PollTest : public testing::TestWithParam<event::Abi> {
 protected:
  PollTest() {
    if (GetParam() == event::Abi::kFifo) {
      uint8_t link_bits = 0;
      EXPECT_TRUE(domain_.events.init_control(TestDomain::kDomId, 0, 10, 0, link_bits));
      EXPECT_TRUE(domain_.events.expand_array(TestDomain::kDomId, 11));
    }
    polled_ = domain_.events.bind_ipi(TestDomain::kDomId, 0).value();
    other_ = domain_.events.bind_ipi(TestDomain::kDomId, 0).value();
    set_upcalls_masked(domain_.info(), true);
  }

  int64_t poll(const std::vector<Port>& ports, uint64_t timeout = 0) {
    const uint64_t list = RamMemory::kBase + 20 * kPageSize;
    CHECK(domain_.memory.copy_out(list, ports.data(), ports.size() * sizeof(Port)));
    return poll_at(list, static_cast<uint32_t>(ports.size()), timeout);
  }
  int64_t poll_at(uint64_t list, uint32_t count, uint64_t timeout = 0) {
    sched_poll request{};
    request.ports.p = reinterpret_cast<evtchn_port_t*>(list);
    request.nr_ports = count;
    request.timeout = timeout;
    return domain_.call(__HYPERVISOR_sched_op, SCHEDOP_poll, domain_.put(request));
  }
  void send(Port port) { ASSERT_TRUE(domain_.events.send(TestDomain::kDomId, port)); }
  bool sleeps() const { return domain_.vcpu.after == AfterHypercall::kPoll; }
  // Whether the next event wakes a poller: the domain's doorbell is rung though no upcall is raised.
  bool is_registered() { return event::channels_of(TestDomain::kDomId).poll_mask.load() != 0; }

  TestDomain domain_;
  Port polled_, other_;
};

TEST_P(PollTest, SleepsUntilAnAbsoluteTimeOrForEver) {
  EXPECT_EQ(poll({polled_}, 77), 0);
  EXPECT_TRUE(sleeps());
  EXPECT_EQ(domain_.vcpu.poll_deadline_ns, 77u) << "in the past: the runner sees that it has passed";
  EXPECT_EQ(poll({polled_}, 5'000'000'000), 0);
  EXPECT_EQ(domain_.vcpu.poll_deadline_ns, 5'000'000'000u);
  EXPECT_EQ(poll({polled_}, 0), 0);
  EXPECT_TRUE(sleeps());
  EXPECT_EQ(domain_.vcpu.poll_deadline_ns, std::nullopt);
}

TEST_P(PollTest, TimeThatIsNegativeToXenHasPassed) {
  EXPECT_EQ(poll({polled_}, ~uint64_t{0}), 0);
  ASSERT_TRUE(domain_.vcpu.poll_deadline_ns.has_value());
  EXPECT_LT(*domain_.vcpu.poll_deadline_ns, domain_.clock.now_ns());
}

TEST_P(PollTest, PortThatWasPendingBeforeEndsItAtOnce) {
  send(polled_);
  EXPECT_EQ(poll({other_, polled_}, 77), 0);
  EXPECT_FALSE(sleeps());
  EXPECT_FALSE(is_registered());
}

TEST_P(PollTest, MaskedPortThatIsPendingEndsItAtOnce) {
  if (GetParam() == event::Abi::kFifo) {
    std::atomic_ref(*const_cast<event_word_t*>(event::event_word(event::channels_of(TestDomain::kDomId), polled_)))
        .fetch_or(event::kMaskedBit);
  } else {
    domain_.shared->evtchn_mask[0] |= 1ul << polled_;
  }
  send(polled_);
  EXPECT_EQ(domain_.info().evtchn_upcall_pending, 0);
  EXPECT_EQ(poll({polled_}), 0);
  EXPECT_FALSE(sleeps());
}

TEST_P(PollTest, AnotherPortThatIsPendingDoesNotEndItWhileUpcallsAreMasked) {
  send(other_);
  ASSERT_EQ(domain_.info().evtchn_upcall_pending, 1);
  EXPECT_EQ(poll({polled_}), 0);
  EXPECT_TRUE(sleeps());
  EXPECT_TRUE(is_registered());
}

TEST_P(PollTest, UpcallThatIsDueEndsItBeforeAPortIsLookedAt) {
  send(other_);
  set_upcalls_masked(domain_.info(), false);
  EXPECT_EQ(poll({polled_}), 0);
  EXPECT_FALSE(sleeps());
  EXPECT_EQ(poll({0xffffffff}), 0) << "not even at bad ones";
  EXPECT_FALSE(sleeps());
  EXPECT_FALSE(is_registered());
}

TEST_P(PollTest, WithoutPortsItWaitsForTheTimeOrAnyEvent) {
  EXPECT_EQ(poll_at(0, 0, 77), 0) << "the list is not looked at";
  EXPECT_TRUE(sleeps());
  EXPECT_TRUE(is_registered());
}

TEST_P(PollTest, BadPortsEndItUnlessAnEarlierOneIsPending) {
  for (const Port bad : {Port{0}, other_ + 1, Port{5000}, Port{0xffffffff}}) {
    EXPECT_EQ(poll({bad}), -EINVAL) << bad;
    EXPECT_EQ(poll({polled_, bad, other_}), -EINVAL) << bad;
    EXPECT_FALSE(sleeps());
    EXPECT_FALSE(is_registered());
  }
  send(polled_);
  EXPECT_EQ(poll({polled_, 0xffffffff}), 0);
  EXPECT_EQ(poll({0xffffffff, polled_}), -EINVAL);
}

TEST_P(PollTest, ListIsRefusedByLengthThenByAddressThenByItsPorts) {
  EXPECT_EQ(poll_at(kNowhere, 129), -EINVAL);
  EXPECT_EQ(poll_at(kNowhere, ~0u), -EINVAL);
  EXPECT_EQ(poll_at(kNowhere, 1), -EFAULT);
  EXPECT_EQ(poll(std::vector<Port>(128, polled_)), 0);
  EXPECT_EQ(domain_.call(__HYPERVISOR_sched_op, SCHEDOP_poll, kNowhere), -EFAULT);
}

INSTANTIATE_TEST_SUITE_P(Abis, PollTest, testing::Values(event::Abi::kTwoLevel, event::Abi::kFifo),
                         [](const auto& row) { return row.param == event::Abi::kFifo ? "Fifo" : "TwoLevel"; });

}  // namespace
}  // namespace xenopolis::hypercall
