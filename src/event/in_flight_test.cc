// Ports that change while their event is on its way: moved, given another priority, closed, reset, and carried over to
// another ABI or into memory that was missing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "event/test_world.h"

namespace xenopolis::event {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr DomId kSender = 1, kReceiver = 2;
constexpr int kChannels = 4;

// --- every ABI

class InFlight : public testing::TestWithParam<Abi> {
 protected:
  InFlight() : channels_(world_.channels), first_(channels_, kReceiver, 0), second_(channels_, kReceiver, 1) {
    world_.add_guest(kSender, GetParam());
    world_.add_guest(kReceiver, GetParam(), {.vcpus = 2});
    for (int i = 0; i < kChannels; ++i) std::tie(from_[i], to_[i]) = world_.connect(kSender, kReceiver);
  }
  void send(int channel) { ASSERT_TRUE(channels_.send(kSender, from_[channel])); }
  void move(int channel, VcpuId vcpu) { ASSERT_TRUE(channels_.bind_vcpu(kReceiver, to_[channel], vcpu)); }

  // All RAM of the receiver but nothing of the hypervisor's.
  std::vector<uint8_t> ram() {
    const uint8_t* begin = machine::memory_of(kReceiver).ram_page(0);
    return {begin, begin + kRamPages * kPageSize};
  }

  World world_;
  EventChannels& channels_;
  GuestSide first_, second_;
  Port from_[kChannels], to_[kChannels];
};

TEST_P(InFlight, PendingPortThatMovesIsSeenWhereItWasAnnounced) {
  send(0);
  move(0, 1);
  EXPECT_FALSE(second_.upcall_pending()) << "moving announces nothing";
  EXPECT_THAT(first_.take(), ElementsAre(to_[0]));
  send(0);
  EXPECT_FALSE(first_.upcall_pending());
  EXPECT_THAT(second_.take(), ElementsAre(to_[0]));
}

TEST_P(InFlight, PortThatMovesBetweenTwoEventsIsStillOneEvent) {
  send(0);
  move(0, 1);
  send(0);
  EXPECT_EQ(channels_.counters(kReceiver).events_delivered, 1u);
  std::vector<Port> taken = first_.take();
  for (const Port port : second_.take()) taken.push_back(port);
  EXPECT_THAT(taken, ElementsAre(to_[0]));
}

TEST_P(InFlight, MaskedPortThatMovesIsAnnouncedWhereItIsUnmasked) {
  first_.set_mask(to_[0], true);
  send(0);
  move(0, 1);
  EXPECT_FALSE(first_.upcall_pending());
  ASSERT_TRUE(channels_.unmask(kReceiver, to_[0]));
  EXPECT_FALSE(first_.upcall_pending());
  EXPECT_THAT(second_.take(), ElementsAre(to_[0]));
}

TEST_P(InFlight, PortsThatMoveToAndFroWhilePendingLoseNothingAndDisturbNobody) {
  for (int round = 0; round < 50; ++round) {
    for (int channel = 0; channel < kChannels; ++channel) {
      send(channel);
      move(channel, (round + channel) % 2);
    }
    std::vector<Port> taken = first_.take();
    for (const Port port : second_.take()) taken.push_back(port);
    EXPECT_THAT(taken, testing::UnorderedElementsAreArray(to_)) << round;
  }
}

TEST_P(InFlight, ClosingTakesTheEventAway) {
  send(0);
  send(1);
  ASSERT_TRUE(channels_.close(kReceiver, to_[0]));
  EXPECT_THAT(first_.take(), ElementsAre(to_[1]));
}

TEST_P(InFlight, GlobalVirqIsRaisedWhereItsPortNotifiesNow) {
  ASSERT_TRUE(create_dom0(channels_, GetParam()));
  Consumer first = Consumer::attach(channels_, 0).value(), second = Consumer::attach(channels_, 1).value();
  const auto drain = [](Consumer& consumer) {
    std::vector<Port> served;
    consumer.drain([&](Port port) { served.push_back(port); });
    return served;
  };
  drain(first);
  drain(second);
  channels_.raise_global_virq(VIRQ_DOM_EXC);  // bound by nobody
  const Port port = first.bind_virq(VIRQ_DOM_EXC).value();
  EXPECT_THAT(drain(first), IsEmpty());
  channels_.raise_global_virq(VIRQ_DOM_EXC);
  channels_.raise_global_virq(VIRQ_DOM_EXC);
  EXPECT_THAT(drain(first), ElementsAre(port));
  ASSERT_TRUE(channels_.bind_vcpu(kDom0, port, 1));
  channels_.raise_global_virq(VIRQ_DOM_EXC);
  EXPECT_THAT(drain(first), IsEmpty());
  EXPECT_THAT(drain(second), ElementsAre(port));
  ASSERT_TRUE(channels_.close(kDom0, port));
  channels_.raise_global_virq(VIRQ_DOM_EXC);
  EXPECT_THAT(drain(second), IsEmpty());
}

TEST_P(InFlight, ResetTakesAllEventsAwayAndTheGuestsMemoryIsItsOwnAgain) {
  first_.set_mask(to_[1], true);
  for (int channel = 0; channel < kChannels; ++channel) send(channel);
  move(2, 1);
  ASSERT_TRUE(channels_.reset(kReceiver, DOMID_SELF));
  ASSERT_EQ(channels_.abi(kReceiver), Abi::kTwoLevel);

  const std::vector<uint8_t> before = ram();
  for (int channel = 0; channel < kChannels; ++channel) send(channel);  // to nobody
  const Port fresh = channels_.bind_ipi(kReceiver, 0).value();
  ASSERT_TRUE(channels_.send(kReceiver, fresh));
  ASSERT_TRUE(channels_.unmask(kReceiver, to_[1]));
  EXPECT_EQ(ram(), before) << "2-level is in shared_info";
  EXPECT_THAT(first_.take(), ElementsAre(fresh));
  EXPECT_THAT(second_.take(), IsEmpty());
}

TEST_P(InFlight, ResetWhilePollingLeavesNoPoller) {
  ASSERT_FALSE(channels_.begin_poll(kReceiver, 1, &to_[0], 1).value());
  ASSERT_TRUE(channels_.reset(kReceiver, DOMID_SELF));
  send(0);
  channels_.end_poll(kReceiver, 1);
  const auto again = channels_.begin_poll(kReceiver, 1, &to_[0], 1);
  ASSERT_FALSE(again) << "it is closed";
  EXPECT_EQ(channels_of(kReceiver).poll_mask.load(), 0u);
}

TEST_P(InFlight, WhatAChangeOfAbiCarriedOverIsNotPendingAfterAReset) {
  ASSERT_TRUE(channels_.reset(kReceiver, DOMID_SELF));
  const auto [ours, theirs] = world_.connect(kSender, kReceiver);
  ASSERT_TRUE(channels_.send(kSender, ours));
  world_.register_abi(kReceiver, GetParam(), 2);
  first_.take();
  ASSERT_TRUE(channels_.reset(kReceiver, DOMID_SELF));
  const auto [ours_again, theirs_again] = world_.connect(kSender, kReceiver);
  ASSERT_EQ(theirs_again, theirs);
  EXPECT_FALSE(channels_.status(kReceiver, kReceiver, theirs)->pending) << "it would swallow the next event";
  first_.take();
  ASSERT_TRUE(channels_.send(kSender, ours_again));
  EXPECT_THAT(first_.take(), ElementsAre(theirs));
}

INSTANTIATE_TEST_SUITE_P(Abis, InFlight, kEveryAbi, name_of_abi);

// --- FIFO

// The receiver speaks 2-level and may change to FIFO.
class FifoInFlight : public testing::Test {
 protected:
  FifoInFlight() : channels_(world_.channels), guest_(channels_, kReceiver), second_(channels_, kReceiver, 1) {
    world_.add_guest(kSender, Abi::kFifo, {}, 8);
    world_.add_guest(kReceiver, Abi::kFifo, {.vcpus = 2}, 0);
    EXPECT_TRUE(channels_.reset(kReceiver, kReceiver));
  }
  // The receiver changes to FIFO. Pages of a guest's event array begin masked.
  void init_control() {
    uint8_t link_bits = 0;
    for (VcpuId vcpu = 0; vcpu < 2; ++vcpu) {
      ASSERT_TRUE(channels_.init_control(kReceiver, vcpu, kControlGfn, vcpu * 128, link_bits));
    }
  }
  void expand(bool masked = false) {
    const Gfn gfn = kFirstArrayGfn + array_pages_++;
    auto* words = reinterpret_cast<event_word_t*>(machine::memory_of(kReceiver).ram_page(gfn));
    std::fill_n(words, kEventWordsPerPage, masked ? kMaskedBit : 0);
    ASSERT_TRUE(channels_.expand_array(kReceiver, gfn));
  }
  // `count` channels; the sender's and the receiver's ports.
  void connect(int count) {
    for (int i = 0; i < count; ++i) {
      const auto [ours, theirs] = world_.connect(kSender, kReceiver);
      from_.push_back(ours);
      to_.push_back(theirs);
    }
  }
  void send(size_t channel) { ASSERT_TRUE(channels_.send(kSender, from_[channel])); }
  bool is_pending(Port port) { return channels_.status(kReceiver, kReceiver, port)->pending; }

  World world_;
  EventChannels& channels_;
  GuestSide guest_, second_;
  std::vector<Port> from_, to_;
  unsigned array_pages_ = 0;
};

TEST_F(FifoInFlight, PendingPortKeepsItsPlaceWhenItsPriorityChanges) {
  init_control();
  expand();
  connect(3);
  for (const size_t channel : {0u, 1u, 2u}) send(channel);
  ASSERT_TRUE(channels_.set_priority(kReceiver, to_[2], EVTCHN_FIFO_PRIORITY_MAX));
  EXPECT_THAT(guest_.take(), ElementsAre(to_[0], to_[1], to_[2])) << "it was queued before";
  for (const size_t channel : {0u, 1u, 2u}) send(channel);
  EXPECT_THAT(guest_.take(), ElementsAre(to_[2], to_[0], to_[1]));
}

TEST_F(FifoInFlight, MaskedPortIsQueuedWithThePriorityThatItHasWhenUnmasked) {
  init_control();
  expand();
  connect(2);
  guest_.set_mask(to_[1], true);
  send(1);
  send(0);
  ASSERT_TRUE(channels_.set_priority(kReceiver, to_[1], 2));
  ASSERT_TRUE(channels_.unmask(kReceiver, to_[1]));
  EXPECT_THAT(guest_.take(), ElementsAre(to_[1], to_[0]));
}

TEST_F(FifoInFlight, EventsThatWaitedForTheirArrayPageComeWithItWhereTheirPortsNotifyNow) {
  init_control();
  expand();
  connect(static_cast<int>(kEventWordsPerPage) + 200);
  guest_.take();
  std::vector<Port> expected, elsewhere;
  for (size_t channel = 0; channel < to_.size(); channel += 7) {
    if (to_[channel] < kEventWordsPerPage) continue;
    send(channel);
    if (channel % 2 == 0) {
      ASSERT_TRUE(channels_.bind_vcpu(kReceiver, to_[channel], 1));
      elsewhere.push_back(to_[channel]);
    } else {
      expected.push_back(to_[channel]);
    }
  }
  ASSERT_GT(expected.size(), 10u);
  EXPECT_FALSE(guest_.upcall_pending());
  expand();
  EXPECT_THAT(guest_.take(), testing::ElementsAreArray(expected));
  EXPECT_THAT(second_.take(), testing::ElementsAreArray(elsewhere));
}

TEST_F(FifoInFlight, EventThatWaitedIsGoneWithItsPort) {
  init_control();
  connect(2);
  send(0);
  send(1);
  ASSERT_TRUE(channels_.close(kReceiver, to_[0]));
  const Port again = channels_.alloc_unbound(kReceiver, kReceiver, kSender).value();
  EXPECT_EQ(again, to_[0]);
  expand();
  EXPECT_THAT(guest_.take(), ElementsAre(to_[1]));
  EXPECT_FALSE(is_pending(again));
}

TEST_F(FifoInFlight, EventThatWaitedBehindAMaskComesWhenUnmasked) {
  init_control();
  connect(1);
  send(0);
  ASSERT_TRUE(channels_.unmask(kReceiver, to_[0])) << "without a word there is nothing to unmask";
  expand(/*masked=*/true);
  EXPECT_FALSE(guest_.upcall_pending());
  EXPECT_TRUE(is_pending(to_[0]));
  ASSERT_TRUE(channels_.unmask(kReceiver, to_[0]));
  EXPECT_THAT(guest_.take(), ElementsAre(to_[0]));
}

TEST_F(FifoInFlight, PollerDoesNotSleepThroughAnEventThatWaitsForItsArrayPage) {
  init_control();
  connect(1);
  channels_.set_doorbell(kReceiver, 0, 7, 0);
  ASSERT_FALSE(channels_.begin_poll(kReceiver, 0, &to_[0], 1).value());
  world_.machine.doorbells().take(7);
  send(0);
  EXPECT_EQ(world_.machine.doorbells().take(7), 1u);
  channels_.end_poll(kReceiver, 0);
  EXPECT_TRUE(channels_.begin_poll(kReceiver, 0, &to_[0], 1).value());
}

TEST_F(FifoInFlight, ManyEventsSurviveTheChangeFromTwoLevel) {
  connect(4000);
  guest_.take();
  std::vector<Port> expected;
  for (size_t channel = 0; channel < to_.size(); channel += 3) {
    send(channel);
    expected.push_back(to_[channel]);
  }
  init_control();
  for (size_t channel = 0; channel < to_.size(); channel += 6) send(channel);  // pending already
  for (int page = 0; page < 4; ++page) expand();
  EXPECT_THAT(guest_.take(), testing::ElementsAreArray(expected));
}

TEST_F(FifoInFlight, ResetAndBackToFifoOnOtherPages) {
  for (int round = 0; round < 3; ++round) {
    GuestSide guest(channels_, kReceiver);
    init_control();
    expand();
    connect(3);
    for (const size_t channel : {2u, 0u, 1u}) send(channel);
    if (round != 1) {
      EXPECT_THAT(guest.take(), ElementsAre(to_[2], to_[0], to_[1]));
    }
    ASSERT_TRUE(channels_.reset(kReceiver, DOMID_SELF));
    // The guest clears what it shares before it starts anew.
    std::memset(machine::memory_of(kReceiver).ram_page(kControlGfn), 0, kPageSize);
    std::memset(channels_of(kReceiver).shared, 0, kPageSize);
    from_.clear();
    to_.clear();
  }
}

}  // namespace
}  // namespace xenopolis::event
