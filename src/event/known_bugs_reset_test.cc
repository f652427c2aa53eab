// EVTCHNOP_reset, and what comes in the middle of it: XSA-338, -342, -343, -344, -505. The other side of each race
// comes at a fault point of the operation, in the same thread, so that every interleaving is tried, and always the same
// ones.
#include "event/known_bugs_test.h"
#include "event/setup.h"

namespace xenopolis::event {
namespace {

using testing::AnyOf;
using testing::ElementsAre;
using testing::IsEmpty;

// Domain 1 has channels to domain 2, which has ports that 2-level could not name if its ABI has such.
class KnownResetBug : public testing::TestWithParam<Abi> {
 protected:
  static constexpr int kChannels = 60;

  KnownResetBug() : channels_(world_.channels), one_(channels_, 1), two_(channels_, 2) {
    world_.add_guest(1, Abi::kFifo);
    world_.add_guest(3, Abi::kFifo);
    world_.add_guest(2, GetParam(), {.vcpus = 2}, 5);
    if (GetParam() != Abi::kTwoLevel) open_ports_up_to(channels_, 2, kTwoLevelPorts + 50);
    for (int i = 0; i < kChannels; ++i) {
      const auto [ours, theirs] = world_.connect(1, 2);
      from_.push_back(ours);
      to_.push_back(theirs);
    }
    one_.take();
  }

  // As a guest does that starts anew after a reset, in pages that it has cleared.
  void set_up_again(DomId domid, uint32_t vcpus) {
    for (const Gfn gfn : {kFirstArrayGfn, kControlGfn}) {
      std::fill_n(machine::memory_of(domid).ram_page(gfn), kPageSize, uint8_t{0});
    }
    world_.register_abi(domid, GetParam(), vcpus);
  }

  World world_;
  EventChannels& channels_;
  GuestSide one_, two_;
  std::vector<Port> from_, to_;
};

// XSA-343. Whatever does not need domain 2's own lock: sending to it, its masks, vCPUs and polls, Dom0 looking, virtual
// interrupts, binding to it, closing the other ends.
TEST_P(KnownResetBug, EveryOperationInTheMiddleOfAResetIsDoneOrRefused) {
  ASSERT_TRUE(channels_.bind_virq(2, VIRQ_TIMER, 1));
  const Port offered = channels_.alloc_unbound(2, 2, 3).value();
  const Port last = offered;
  size_t turn = 0;
  uint32_t bound_by_three = 0;
  const auto done_or_refused = [](const auto& result) {
    EXPECT_THAT(error_of(result), AnyOf(XenErrno{0}, XenErrno::kInval, XenErrno::kAcces, XenErrno::kNoSys));
    return static_cast<bool>(result);
  };
  {
    AtFaultPoints meanwhile([&](std::string_view) {
      const Port port = 1 + static_cast<Port>(turn * 7 % last);
      const size_t channel = turn++ % kChannels;
      EXPECT_TRUE(channels_.send(1, from_[channel])) << "to its port, or to nobody";
      done_or_refused(channels_.unmask(2, port));
      done_or_refused(channels_.bind_vcpu(2, port, turn % 2));
      done_or_refused(channels_.status(kDom0, 2, port));
      done_or_refused(channels_.send(2, to_[channel]));
      done_or_refused(channels_.set_priority(2, port, turn % 16));
      const Port polled[] = {port, to_[channel]};
      done_or_refused(channels_.begin_poll(2, turn % 2, polled, 2));
      channels_.end_poll(2, turn % 2);
      channels_.raise_virq(2, 1, VIRQ_TIMER);
      if (turn % 50 == 0 && done_or_refused(channels_.bind_interdomain(3, 2, offered))) ++bound_by_three;
    });
    ASSERT_TRUE(channels_.reset(2, 2));
  }
  EXPECT_GT(turn, size_t{3 * kChannels});
  EXPECT_EQ(bound_by_three, 1u);
  EXPECT_EQ(channels_.counters(2).open_ports, 0u);
  EXPECT_EQ(channels_.abi(2), Abi::kTwoLevel);
  for (const Port port : from_) EXPECT_EQ(channels_.status(1, 1, port)->status, uint32_t{EVTCHNSTAT_unbound});
  // A whole domain is left: it can be set up, bound and sent to.
  set_up_again(2, 2);
  GuestSide anew(channels_, 2);
  const auto [ours, theirs] = world_.connect(1, 2);
  EXPECT_EQ(theirs, 1u);
  anew.take();
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_THAT(anew.take(), ElementsAre(theirs));
  EXPECT_TRUE(channels_.bind_virq(2, VIRQ_TIMER, 1));
}

// XSA-344. The domain's lock is held for all of it, its delivery locks for one port each: events get through.
TEST_P(KnownResetBug, EventsComeThroughInTheMiddleOfALongReset) {
  const auto [ours, theirs] = world_.connect(1, 2);  // the last to be closed
  const auto [self, other] = world_.connect(3, 1);
  one_.take();
  two_.take();
  uint32_t points = 0, delivered = 0;
  {
    AtFaultPoints meanwhile([&, ours = ours, theirs = theirs, self = self, other = other](std::string_view) {
      if (++points % 37 != 0 || channels_.status(1, 1, ours)->status != EVTCHNSTAT_interdomain) return;
      ASSERT_TRUE(channels_.send(1, ours));
      EXPECT_THAT(two_.take(), ElementsAre(theirs));
      ASSERT_TRUE(channels_.send(3, self));
      EXPECT_THAT(one_.take(), ElementsAre(other));
      ++delivered;
    });
    ASSERT_TRUE(channels_.reset(2, 2));
  }
  EXPECT_GT(delivered, 3u);
}

// XSA-344. Xen answers -EAGAIN when it has passed all ports and some are open again; so is answered here if they are
// many.
TEST_P(KnownResetBug, APieceOfAResetIsBoundedAlthoughAnotherVcpuOpensPortsBehindIt) {
  constexpr uint32_t kPiece = 100;
  if (GetParam() == Abi::kTwoLevel) open_ports_up_to(channels_, 2, 3000);
  for (int piece = 0;; ++piece) {
    ASSERT_LT(piece, 1000);
    const uint32_t before = channels_.counters(2).open_ports;
    const XenResult<bool> done = channels_.reset_some(2, 2, kPiece);
    EXPECT_LE(before - channels_.counters(2).open_ports, 2 * kPiece);
    if (!done) {
      EXPECT_EQ(done.error(), XenErrno::kAgain);
      break;
    }
    if (*done) break;
    for (uint32_t i = 0; i < kPiece - 1; ++i) ASSERT_TRUE(channels_.bind_ipi(2, 1));
  }
  // Left alone, it comes to its end.
  ASSERT_TRUE(channels_.reset(2, 2));
  EXPECT_EQ(channels_.counters(2).open_ports, 0u);
}

// XSA-344: a reset costs its open ports, not the numbers that could be.
TEST_P(KnownResetBug, AResetPassesAFixedNumberOfStepsForEachOpenPort) {
  const auto steps_of_reset = [&](DomId domid) {
    uint32_t steps = 0;
    AtFaultPoints count([&](std::string_view) { ++steps; });
    EXPECT_TRUE(channels_.reset(domid, domid));
    return steps;
  };
  const uint32_t open = channels_.counters(2).open_ports;
  const uint32_t steps = steps_of_reset(2);
  EXPECT_LE(steps, 3 * open + 10);
  EXPECT_LE(steps_of_reset(2), 10u);
  world_.add_guest(4, GetParam());
  constexpr Port kUsed = 4000;
  open_ports_up_to(channels_, 4, kUsed);
  for (Port port = 2; port <= kUsed; ++port) ASSERT_TRUE(channels_.close(4, port));
  EXPECT_LE(steps_of_reset(4), 3 + 10u);
}

// XSA-342: ports whose numbers the ABI in force cannot express. Xen's were those of 32-bit domains; ours are those of a
// domain that goes back to 2-level.
TEST_P(KnownResetBug, AfterAResetNoPortIsLeftThatTwoLevelCannotName) {
  ASSERT_TRUE(channels_.reset(2, 2));
  EXPECT_EQ(channels_.port_limit(2), kTwoLevelPorts);
  for (const Port port : {Port{64}, kTwoLevelPorts - 1, kTwoLevelPorts, kTwoLevelPorts + 1}) {
    EXPECT_EQ(error_of(channels_.status(2, 2, port)), XenErrno::kInval) << port;
    EXPECT_EQ(error_of(channels_.unmask(2, port)), XenErrno::kInval) << port;
    EXPECT_EQ(error_of(channels_.begin_poll(2, 0, &port, 1)), XenErrno::kInval) << port;
    EXPECT_EQ(error_of(channels_.bind_interdomain(1, 2, port)), XenErrno::kInval) << port;
  }
  for (Port port = 1; port < kTwoLevelPorts; ++port) ASSERT_EQ(channels_.alloc_unbound(2, 2, 1).value(), port);
  EXPECT_EQ(error_of(channels_.alloc_unbound(2, 2, 1)), XenErrno::kNoSpc);
}

TEST_P(KnownResetBug, AHighLimitOfTheToolstacksDoesNotLiftThatOfTheAbi) {
  world_.add_guest(4, Abi::kTwoLevel, {.max_port = 100'000});
  EXPECT_EQ(channels_.port_limit(4), kTwoLevelPorts);
  world_.add_guest(5, GetParam(), {.max_port = 1u << 20});
  EXPECT_EQ(channels_.port_limit(5), ports_of(GetParam()));
  world_.add_guest(6, GetParam(), {.max_port = ~0u});
  EXPECT_EQ(channels_.port_limit(6), ports_of(GetParam()));
}

// XSA-342 in the middle of a reset. In shared_info the mask bitmap follows the pending bitmap, so that a look beyond
// the end of the latter finds pending what is masked.
TEST_P(KnownResetBug, AResetUnderWayShowsNoPortThatTwoLevelCannotName) {
  auto* shared = reinterpret_cast<shared_info*>(machine::memory_of(2).page(kRamPages));
  std::fill(std::begin(shared->evtchn_mask), std::end(shared->evtchn_mask), ~xen_ulong_t{0});
  const Port highest = to_.back();
  uint32_t points = 0;
  AtFaultPoints look([&](std::string_view point) {
    // Sometimes while ports are closed, and always when all are.
    if (++points % 100 != 0 && channels_.counters(2).open_ports != 0) return;
    for (Port port = std::min(highest, kTwoLevelPorts); port <= highest; ++port) {
      if (const auto status = channels_.status(kDom0, 2, port)) {
        EXPECT_FALSE(status->pending) << port << " at " << point;
      }
      if (const auto pending = channels_.begin_poll(2, 0, &port, 1)) {
        EXPECT_FALSE(*pending) << port << " at " << point;
      }
      channels_.end_poll(2, 0);
    }
  });
  ASSERT_TRUE(channels_.reset(2, 2));
}

// "evtchn: make EVTCHNOP_reset suitable for kexec"
TEST_P(KnownResetBug, AfterAResetTheDomainSwitchesAgainAndIsSentTo) {
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(channels_.reset(2, DOMID_SELF));
    set_up_again(2, 2);
    EXPECT_EQ(channels_.abi(2), GetParam());
    const auto [ours, theirs] = world_.connect(1, 2);
    ASSERT_TRUE(channels_.bind_vcpu(2, theirs, round % 2));
    GuestSide side(channels_, 2, round % 2);
    ASSERT_TRUE(channels_.send(1, ours));
    EXPECT_THAT(side.take(), ElementsAre(theirs));
  }
}

INSTANTIATE_TEST_SUITE_P(Abis, KnownResetBug, kEveryAbi, name_of_abi);

// XSA-505, and XSA-338: "once valid event channels may not turn invalid". While expand_array delivers the events that
// have waited for the page, one after the other and with no lock held in between, another vCPU resets the domain.
TEST(KnownExpansionBug, AResetInTheMiddleOfAnExpansionEndsIt) {
  World world;
  EventChannels& channels = world.channels;
  world.add_guest(1, Abi::kFifo);
  world.add_guest(2, Abi::kFifo, {.vcpus = 2}, 0);
  std::vector<Port> from;
  for (int i = 0; i < 20; ++i) {
    from.push_back(world.connect(1, 2).first);
    ASSERT_TRUE(channels.send(1, from.back()));
  }
  for (int nth = 0;; ++nth) {
    ASSERT_LT(nth, 200);
    bool was_reset = false;
    int deliveries = 0;
    {
      AtFaultPoints reset([&](std::string_view point) {
        if (was_reset || point != "deliver: unlocked" || deliveries++ != nth) return;
        ASSERT_TRUE(channels.reset(2, 2));
        was_reset = true;
      });
      ASSERT_TRUE(channels.expand_array(2, kFirstArrayGfn));
    }
    if (!was_reset) {
      EXPECT_EQ(nth, 20) << "the events that waited";
      break;
    }
    EXPECT_EQ(channels.abi(2), Abi::kTwoLevel);
    EXPECT_EQ(channels.counters(2).open_ports, 0u);
    EXPECT_EQ(error_of(channels.expand_array(2, kFirstArrayGfn + 1)), XenErrno::kOpNotSupp);
    // Once more, until the expansion has come to its end.
    std::fill_n(machine::memory_of(2).ram_page(kFirstArrayGfn), kPageSize, uint8_t{0});
    uint8_t link_bits = 0;
    for (VcpuId vcpu = 0; vcpu < 2; ++vcpu) {
      ASSERT_TRUE(channels.init_control(2, vcpu, kControlGfn, vcpu * 128, link_bits));
    }
    for (Port& port : from) {
      ASSERT_TRUE(channels.close(1, port));
      port = world.connect(1, 2).first;
      ASSERT_TRUE(channels.send(1, port));
    }
  }
}

// XSA-505 itself: expand_array has seen that the domain speaks FIFO, then waits for the lock while a reset ends that.
TEST(KnownExpansionBug, APageIsAddedOnlyIfTheDomainSpeaksFifoWhenTheLockIsHeld) {
  World world;
  world.add_guest(1, Abi::kFifo);
  ASSERT_TRUE(world.channels.reset(1, 1));
  void* page = machine::memory_of(1).ram_page(kFirstArrayGfn);
  EXPECT_EQ(error_of(add_array_page(world.machine, 1, page)), XenErrno::kOpNotSupp);
  EXPECT_EQ(channels_of(1).array_pages.load(), 0u);
}

}  // namespace
}  // namespace xenopolis::event
