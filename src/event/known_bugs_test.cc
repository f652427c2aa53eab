// Bugs of Xen's and Linux' event channels that are about queues, bitmaps and the ports in them, as claims about ours.
// docs/known-bugs.md says which is which.
#include "event/known_bugs_test.h"

#include <thread>

namespace xenopolis::event {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Domain 1 sends, domain 2 (two vCPUs) receives.
class KnownFifoBug : public testing::Test {
 protected:
  static constexpr uint32_t kDefaultReady = 1u << EVTCHN_FIFO_PRIORITY_DEFAULT;

  KnownFifoBug() : channels_(world_.channels), guest_(channels_, 2) {
    world_.add_guest(1, Abi::kFifo);
    world_.add_guest(2, Abi::kFifo, {.vcpus = 2});
    for (int i = 0; i < 4; ++i) std::tie(from_[i], to_[i]) = world_.connect(1, 2);
    GuestSide(channels_, 1).take();
  }
  void send(int channel) { ASSERT_TRUE(channels_.send(1, from_[channel])); }

  // Domain 3 as it is before it has called init_control.
  void add_domain_that_may_switch(uint32_t vcpus) {
    world_.add_guest(3, Abi::kFifo, {.vcpus = vcpus}, 0);
    ASSERT_TRUE(channels_.reset(3, 3));
  }
  XenStatus init_control(DomId domid, VcpuId vcpu) {
    uint8_t link_bits = 0;
    return channels_.init_control(domid, vcpu, kControlGfn, 1024 + vcpu * 128, link_bits);
  }

  World world_;
  EventChannels& channels_;
  GuestSide guest_;
  Port from_[4], to_[4];
};

// --- "evtchn: don't lose pending state if FIFO event array page is missing"

TEST_F(KnownFifoBug, AnEventToAPortOfTheToolstacksWaitsForTheFirstArrayPage) {
  add_domain_that_may_switch(1);
  const auto [ours, theirs] = world_.connect(1, 3);
  ASSERT_TRUE(init_control(3, 0));
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_TRUE(channels_.status(3, 3, theirs)->pending);
  ASSERT_TRUE(channels_.expand_array(3, kFirstArrayGfn));
  EXPECT_THAT(GuestSide(channels_, 3).take(), ElementsAre(theirs));
}

// --- "evtchn/fifo: don't spin indefinitely when setting LINK"

TEST_F(KnownFifoBug, ABusyBitThatTheGuestSetsHoldsNobodyUp) {
  send(0);
  guest_.word_of(to_[0]).fetch_or(kBusyBit);
  send(1);
  EXPECT_EQ(guest_.word_of(to_[0]).load(), kPendingBit | kLinkedBit | to_[1]);
  EXPECT_THAT(guest_.take(), ElementsAre(to_[0], to_[1]));
}

class KnownDom0FifoBug : public testing::TestWithParam<bool> {
 protected:
  KnownDom0FifoBug() : channels_(world_.channels), dom0_(channels_, kDom0, 1) {
    EXPECT_TRUE(create_dom0(channels_, Abi::kFifo));
    world_.add_guest(1, Abi::kFifo);
    consumer_ = std::make_unique<Consumer>(Consumer::attach(channels_, 1).value());
    x_ = channel();
    v_ = channel();
  }
  std::pair<Port, Port> channel() {
    const Port offered = channels_.alloc_unbound(1, 1, kDom0).value();
    return {consumer_->bind_interdomain(1, offered).value(), offered};
  }

  World world_;
  EventChannels& channels_;
  GuestSide dom0_;
  std::unique_ptr<Consumer> consumer_;
  std::pair<Port, Port> x_, v_;  // Dom0's port, the guest's
};

// The same as "only set READY for new heads", for which the repair after a sender's death cannot vouch: so the reader
// looks.
TEST_P(KnownDom0FifoBug, AReadyTooManyLosesNoPort) {
  // READY again, for a queue whose head has been served: what a repair leaves.
  consumer_->drain([](Port) {});
  EXPECT_TRUE(channels_.send(1, x_.second));
  EXPECT_EQ(consumer_->drain([](Port) {}), 1u);
  const unsigned queue = EVTCHN_FIFO_PRIORITY_DEFAULT;
  std::atomic_ref(dom0_.control().ready).fetch_or(1u << queue);
  std::vector<Port> served;
  bool came = false;
  const auto serve = [&](Port port) {
    served.push_back(port);
    if (port == x_.first && std::ranges::count(served, x_.first) == 1) {
      EXPECT_TRUE(channels_.send(1, x_.second));
    }
  };
  {
    const AtFaultPoints others([&](std::string_view point) {
      if (point != "consumer: head" || std::exchange(came, true)) return;
      for (const auto& [port, offered] : {v_, x_}) {
        // Variant: in another queue, in whose middle the stale head is found.
        if (GetParam()) {
          EXPECT_TRUE(channels_.set_priority(kDom0, port, EVTCHN_FIFO_PRIORITY_MIN));
        }
        EXPECT_TRUE(channels_.send(1, offered));
      }
    });
    while (consumer_->drain(serve) != 0) {
    }
  }
  EXPECT_TRUE(came);
  EXPECT_THAT(served, testing::IsSupersetOf({v_.first, x_.first}));
  EXPECT_TRUE(channels_.send(1, v_.second));
  EXPECT_EQ(consumer_->drain([](Port) {}), 1u) << "and it is not stuck";
}

INSTANTIATE_TEST_SUITE_P(Variants, KnownDom0FifoBug, testing::Bool());

TEST_F(KnownFifoBug, AWordThatChangesAtEveryTryIsGivenUpAfterFiveAndLeftNotBusy) {
  send(0);
  int tries = 0;
  {
    const AtFaultPoints change([&](std::string_view point) {
      if (point != "FIFO: tail seen") return;
      ++tries;
      guest_.word_of(to_[0]).fetch_xor(kMaskedBit);
    });
    send(1);
  }
  EXPECT_EQ(tries, 5);
  EXPECT_EQ(guest_.word_of(to_[0]).load() & (kBusyBit | kLinkMask), 0u);
  EXPECT_EQ(guest_.control().head[EVTCHN_FIFO_PRIORITY_DEFAULT], to_[1]) << "the new head";
  EXPECT_EQ(guest_.word_of(to_[1]).load(), kPendingBit | kLinkedBit);
}

TEST_F(KnownFifoBug, ASenderGivesUpOnAWordThatAlwaysChangesAndLeavesItNotBusy) {
  std::vector<std::jthread> hostile;
  for (int i = 0; i < 2; ++i) {
    hostile.emplace_back([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) guest_.word_of(to_[0]).fetch_xor(kMaskedBit);
    });
  }
  for (int i = 0; i < 3000 * kScale; ++i) {
    // A queue whose tail is the word that changes.
    for (const int channel : {0, 1}) guest_.word_of(to_[channel]).store(0);
    send(0);
    send(1);
    ASSERT_EQ(guest_.word_of(to_[0]).load() & kBusyBit, 0u) << i;
    ASSERT_EQ(guest_.word_of(to_[1]).load(), kPendingBit | kLinkedBit) << i;
  }
  hostile.clear();
  // What it has done to its queues is its own loss; when it has cleared its words, it is served as before.
  guest_.take();
  for (const Port port : to_) guest_.word_of(port).store(0);
  for (int channel = 0; channel < 4; ++channel) send(channel);
  EXPECT_THAT(guest_.take(), ElementsAre(to_[0], to_[1], to_[2], to_[3]));
}

// --- "evtchn/fifo: only set READY for new heads"

TEST_F(KnownFifoBug, ReadyIsSetForNewHeadsOnly) {
  send(0);
  EXPECT_EQ(guest_.control().ready, kDefaultReady);
  // The guest has taken READY and has the list's head in hand.
  std::atomic_ref(guest_.control().ready).store(0);
  send(1);
  send(2);
  EXPECT_EQ(guest_.control().ready, 0u);
  EXPECT_EQ(guest_.control().head[EVTCHN_FIFO_PRIORITY_DEFAULT], to_[0]);
}

// --- "evtchn/fifo: initialize priority when events are bound"

TEST_F(KnownFifoBug, EveryKindOfPortStartsWithTheDefaultPriority) {
  const std::function<XenResult<Port>()> kinds[] = {
      [&] { return channels_.alloc_unbound(2, 2, 1); },
      [&] { return channels_.bind_interdomain(2, 1, channels_.alloc_unbound(1, 1, 2).value()); },
      [&] { return channels_.bind_virq(2, VIRQ_TIMER, 1); },
      [&] { return channels_.bind_ipi(2, 1); },
  };
  for (const auto& bind : kinds) {
    const Port port = bind().value();
    EXPECT_EQ(channels_.status(2, 2, port)->priority, EVTCHN_FIFO_PRIORITY_DEFAULT);
    ASSERT_TRUE(channels_.set_priority(2, port, EVTCHN_FIFO_PRIORITY_MAX));
    ASSERT_TRUE(channels_.close(2, port));
    guest_.take();  // unlinks it, so that it can be used again
    ASSERT_EQ(bind().value(), port);
    EXPECT_EQ(channels_.status(2, 2, port)->priority, EVTCHN_FIFO_PRIORITY_DEFAULT);
  }
}

TEST_F(KnownFifoBug, PortsFromBeforeTheSwitchHaveTheDefaultPriority) {
  add_domain_that_may_switch(1);
  const auto [ours, theirs] = world_.connect(1, 3);
  ASSERT_TRUE(init_control(3, 0));
  ASSERT_TRUE(channels_.expand_array(3, kFirstArrayGfn));
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_EQ(GuestSide(channels_, 3).control().head[0], 0u);
  const uint32_t ready = machine::memory_of(3).ram_page(kControlGfn)[1024];
  EXPECT_EQ(ready, kDefaultReady);
}

// --- "evtchn: don't reuse ports that are still "busy""

TEST_F(KnownFifoBug, ClosedPortsThatAreQueuedComeBackWhenTheGuestHasUnlinkedThem) {
  std::vector<Port> queued;
  for (int i = 0; i < 200; ++i) {
    const auto [ours, theirs] = world_.connect(1, 2);
    ASSERT_TRUE(channels_.send(1, ours));
    queued.push_back(theirs);
  }
  for (const Port port : queued) ASSERT_TRUE(channels_.close(2, port));
  // A bounded look at the closed ones, then a new number: as often as it takes.
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(queued, testing::Not(testing::Contains(channels_.alloc_unbound(2, 2, 1).value())));
  }
  EXPECT_THAT(guest_.take(), IsEmpty());
  for (int i = 0; i < 200; ++i) {
    EXPECT_THAT(queued, testing::Contains(channels_.alloc_unbound(2, 2, 1).value()));
  }
}

// --- XSA-107

TEST_F(KnownFifoBug, AVcpuWithoutControlBlockGetsItsEventsWhenItHasOne) {
  add_domain_that_may_switch(2);
  ASSERT_TRUE(init_control(3, 0));
  ASSERT_TRUE(channels_.expand_array(3, kFirstArrayGfn));
  const auto [ours, theirs] = world_.connect(1, 3);
  ASSERT_TRUE(channels_.bind_vcpu(3, theirs, 1));
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_TRUE(channels_.status(3, 3, theirs)->pending);
  EXPECT_FALSE(GuestSide(channels_, 3, 1).upcall_pending());
  ASSERT_TRUE(init_control(3, 1));
  ASSERT_TRUE(channels_.unmask(3, theirs));
  EXPECT_THAT(GuestSide(channels_, 3, 1).take(), ElementsAre(theirs));
}

// Every port's last queue is one of vCPU 0 at first.
TEST_F(KnownFifoBug, APortWhoseLastVcpuHasNoControlBlockIsDelivered) {
  add_domain_that_may_switch(2);
  ASSERT_TRUE(init_control(3, 1));
  ASSERT_TRUE(channels_.expand_array(3, kFirstArrayGfn));
  const auto [ours, theirs] = world_.connect(1, 3);
  ASSERT_TRUE(channels_.bind_vcpu(3, theirs, 1));
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_THAT(GuestSide(channels_, 3, 1).take(), ElementsAre(theirs));
}

// The same in 3-level: a vCPU without a second-level selector.
TEST(KnownThreeLevelBug, AVcpuWithoutSelectorGetsItsEventsWhenItHasOne) {
  World world;
  EventChannels& channels = world.channels;
  world.add_guest(1, Abi::kFifo);
  world.add_guest(2, Abi::kThreeLevel, {.vcpus = 2});
  ASSERT_TRUE(channels.reset(2, 2));
  Gfn pending[kBitmapFrames], mask[kBitmapFrames];
  for (uint32_t index = 0; index < kBitmapFrames; ++index) pending[index] = 20 + index, mask[index] = 40 + index;
  ASSERT_TRUE(channels.register_bitmaps(2, pending, mask));
  const auto [ours, theirs] = world.connect(1, 2);
  ASSERT_TRUE(channels.bind_vcpu(2, theirs, 1));
  ASSERT_TRUE(channels.send(1, ours));
  EXPECT_TRUE(channels.status(2, 2, theirs)->pending);
  ASSERT_TRUE(channels.register_selector(2, 1, 60, 0));
  EXPECT_TRUE(GuestSide(channels, 2, 1).upcall_pending());
  EXPECT_THAT(GuestSide(channels, 2, 1).take(), ElementsAre(theirs));
}

// --- every ABI

class KnownBug : public testing::TestWithParam<Abi> {
 protected:
  KnownBug() : channels_(world_.channels), one_(channels_, 1), two_(channels_, 2) {
    world_.add_guest(1, GetParam());
    world_.add_guest(2, GetParam(), {.vcpus = 2});
  }

  World world_;
  EventChannels& channels_;
  GuestSide one_, two_;
};

// "xen/events: rework fifo queue locking": a poller that was rung before the event was linked saw nothing and slept on.
TEST_P(KnownBug, APollerIsRungWhenItsEventCanBeSeenAndNotBefore) {
  constexpr machine::DoorbellId kBell = 7;
  const auto [ours, theirs] = world_.connect(1, 2);
  channels_.set_doorbell(2, 0, kBell, 0);
  ASSERT_FALSE(channels_.begin_poll(2, 0, &theirs, 1).value());
  std::vector<Port> seen;
  {
    AtFaultPoints look([&, theirs = theirs](std::string_view) {
      if (machine::doorbell(kBell).wake.load() == 0 || !seen.empty()) return;
      EXPECT_TRUE(two_.upcall_pending());
      seen = two_.take();
      EXPECT_THAT(seen, ElementsAre(theirs));
    });
    ASSERT_TRUE(channels_.send(1, ours));
  }
  EXPECT_THAT(seen, ElementsAre(theirs));
  channels_.end_poll(2, 0);
}

// Linux, "xen/events: mask events when changing their VCPU binding" and older: a 2-level port that was pending while it
// moved stayed pending for ever, because only a port that was not pending was selected.
TEST_P(KnownBug, APortThatWasPendingWhenItMovedIsAnnouncedByTheNextEvent) {
  const auto [ours, theirs] = world_.connect(1, 2);
  ASSERT_TRUE(channels_.send(1, ours));
  ASSERT_TRUE(channels_.bind_vcpu(2, theirs, 1));
  // vCPU 0 takes what makes it look, finds a port that is not its own any more, and leaves it.
  if (GetParam() == Abi::kFifo) {
    EXPECT_THAT(two_.take(), ElementsAre(theirs)) << "FIFO: served where it is queued";
  } else {
    two_.info()->evtchn_upcall_pending = 0;
    two_.info()->evtchn_pending_sel = 0;
  }
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_THAT(GuestSide(channels_, 2, 1).take(), ElementsAre(theirs));
}

// XSA-221, CVE-2017-10917: polling for a port of a bucket that does not exist.
TEST_P(KnownBug, PortsThatHaveNoPlaceInTheTableYetAreRefusedByEveryOperation) {
  open_ports_up_to(channels_, 1, kInlinePorts + 2);  // the first bucket exists now
  const auto expect_unusable = [&](Port port) {
    EXPECT_EQ(error_of(channels_.begin_poll(1, 0, &port, 1)), XenErrno::kInval) << port;
    const Port both[] = {1, port};
    EXPECT_EQ(error_of(channels_.begin_poll(1, 0, both, 2)), XenErrno::kInval) << port;
    EXPECT_EQ(error_of(channels_.send(1, port)), XenErrno::kInval) << port;
    EXPECT_EQ(error_of(channels_.close(1, port)), XenErrno::kInval) << port;
    EXPECT_EQ(error_of(channels_.bind_vcpu(1, port, 0)), XenErrno::kInval) << port;
    EXPECT_EQ(error_of(channels_.bind_interdomain(2, 1, port)), XenErrno::kInval) << port;
  };
  const Port closed = kInlinePorts + 3;  // Xen makes 64 ports at a time: these exist, closed
  expect_unusable(closed);
  EXPECT_EQ(channels_.status(1, 1, closed)->status, uint32_t{EVTCHNSTAT_closed});
  EXPECT_TRUE(channels_.unmask(1, closed));
  for (const Port port : {kPortsPerBucket - 1, kPortsPerBucket, 2 * kPortsPerBucket + 7, ports_of(GetParam()) - 1}) {
    expect_unusable(port);
    EXPECT_EQ(error_of(channels_.status(1, 1, port)), XenErrno::kInval) << port;
    EXPECT_EQ(error_of(channels_.unmask(1, port)), XenErrno::kInval) << port;
    EXPECT_EQ(error_of(channels_.set_priority(1, port, 1)), XenErrno::kInval) << port;
  }
  // And the refused polls have registered nobody.
  const auto [ours, theirs] = world_.connect(1, 2);
  one_.take();
  channels_.set_doorbell(1, 0, 7, 0);
  one_.set_mask(ours, true);
  ASSERT_TRUE(channels_.send(2, theirs));
  EXPECT_EQ(world_.machine.doorbells().take(7), 0u);
}

// "Xen delivers a VIRQ to a stale port": what virq_lock is for in Xen.
TEST_P(KnownBug, AVirtualInterruptDoesNotReachThePortsNextUser) {
  const Port timer = channels_.bind_virq(2, VIRQ_TIMER, 1).value();
  ASSERT_TRUE(channels_.close(2, timer));
  ASSERT_EQ(channels_.bind_ipi(2, 1).value(), timer);
  channels_.raise_virq(2, 1, VIRQ_TIMER);
  EXPECT_FALSE(channels_.status(2, 2, timer)->pending);
  EXPECT_THAT(GuestSide(channels_, 2, 1).take(), IsEmpty());
}

// 1. A sender has read that its port leads to P.  2. P is closed and belongs to somebody else.  3. The sender has P's
// lock.
TEST_P(KnownBug, AnEventUnderWayDoesNotReachThePortsNextUser) {
  world_.add_guest(3, GetParam());
  const auto [ours, theirs] = world_.connect(1, 2);
  Port again = 0;
  {
    const AtFaultPoints reuse([&, theirs = theirs](std::string_view point) {
      if (point != "deliver: about to lock" || again != 0) return;
      EXPECT_TRUE(channels_.close(2, theirs));
      again = channels_.alloc_unbound(2, 2, 3).value();
      EXPECT_TRUE(channels_.bind_interdomain(3, 2, again));
    });
    EXPECT_TRUE(channels_.send(1, ours)) << "as if it had been sent a moment later";
  }
  ASSERT_EQ(again, theirs);
  EXPECT_FALSE(channels_.status(2, 2, again)->pending);
  EXPECT_THAT(two_.take(), IsEmpty());
  EXPECT_EQ(channels_.status(1, 1, ours)->status, uint32_t{EVTCHNSTAT_unbound});
}

INSTANTIATE_TEST_SUITE_P(Abis, KnownBug, kEveryAbi, name_of_abi);

}  // namespace
}  // namespace xenopolis::event
