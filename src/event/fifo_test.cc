#include "event/fifo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "event/test_world.h"

namespace xenopolis::event {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

template <class T>
XenErrno error_of(const Result<T, XenErrno>& result) {
  return result ? XenErrno{0} : result.error();
}

// Domain 1 sends, domain 2 (two vCPUs) receives.
class FifoTest : public testing::Test {
 protected:
  FifoTest() : channels_(world_.channels), guest_(channels_, 2), second_(channels_, 2, 1) {
    world_.add_guest(1, Abi::kFifo);
    world_.add_guest(2, Abi::kFifo, {.vcpus = 2});
    for (int i = 0; i < 4; ++i) {
      const auto [ours, theirs] = world_.connect(1, 2);
      from_[i] = ours;
      to_[i] = theirs;
    }
  }
  void send(int channel) { ASSERT_TRUE(channels_.send(1, from_[channel])); }
  event_word_t word(int channel) { return guest_.word_of(to_[channel]).load(); }

  World world_;
  EventChannels& channels_;
  GuestSide guest_, second_;
  Port from_[4], to_[4];
};

TEST_F(FifoTest, PendingPortsFormAListFromTheHead) {
  send(0);
  send(1);
  send(2);
  EXPECT_EQ(guest_.control().head[EVTCHN_FIFO_PRIORITY_DEFAULT], to_[0]);
  EXPECT_EQ(guest_.control().ready, 1u << EVTCHN_FIFO_PRIORITY_DEFAULT);
  EXPECT_EQ(word(0), kPendingBit | kLinkedBit | to_[1]);
  EXPECT_EQ(word(1), kPendingBit | kLinkedBit | to_[2]);
  EXPECT_EQ(word(2), kPendingBit | kLinkedBit);
  EXPECT_THAT(guest_.take(), ElementsAre(to_[0], to_[1], to_[2]));
}

TEST_F(FifoTest, AppendingToAWaitingQueueRaisesNoSecondUpcall) {
  send(0);
  guest_.info()->evtchn_upcall_pending = 0;
  send(1);
  EXPECT_FALSE(guest_.upcall_pending());
}

TEST_F(FifoTest, QueueWhoseTailWasConsumedStartsAnew) {
  send(0);
  guest_.take();
  send(1);
  EXPECT_EQ(guest_.control().head[EVTCHN_FIFO_PRIORITY_DEFAULT], to_[1]);
  EXPECT_EQ(word(0), 0u);
  send(0);
  EXPECT_THAT(guest_.take(), ElementsAre(to_[1], to_[0]));
}

TEST_F(FifoTest, PortSentAgainAfterUnlinkingIsLinkedAtTheEnd) {
  send(0);
  send(1);
  // The guest takes the first off the list, and before it looks at PENDING another event comes.
  std::atomic_ref(guest_.control().ready).exchange(0);
  guest_.word_of(to_[0]).fetch_and(~(kLinkedBit | kLinkMask));
  send(0);
  EXPECT_EQ(word(1), kPendingBit | kLinkedBit | to_[0]);
  EXPECT_EQ(word(0), kPendingBit | kLinkedBit);
}

TEST_F(FifoTest, SixteenPrioritiesHighestFirst) {
  ASSERT_TRUE(channels_.set_priority(2, to_[1], EVTCHN_FIFO_PRIORITY_MAX));
  ASSERT_TRUE(channels_.set_priority(2, to_[2], EVTCHN_FIFO_PRIORITY_MIN));
  for (const int channel : {2, 0, 3, 1}) send(channel);
  EXPECT_THAT(guest_.take(), ElementsAre(to_[1], to_[0], to_[3], to_[2]));
  EXPECT_EQ(error_of(channels_.set_priority(2, to_[0], 16)), XenErrno::kInval);
  EXPECT_EQ(error_of(channels_.set_priority(2, 4000, 3)), XenErrno::kInval);
  EXPECT_EQ(channels_.status(2, 2, to_[1])->priority, EVTCHN_FIFO_PRIORITY_MAX);
}

// 1. P is consumed, and still the tail of queue 7.  2. P's priority becomes 3, P is sent: linked, in queue 3.
// 3. X is sent to queue 7: P looks like a linked tail, but not of this queue.
TEST_F(FifoTest, PortThatChangedItsPriorityTakesNoSuccessorAlong) {
  send(0);
  guest_.take();
  ASSERT_TRUE(channels_.set_priority(2, to_[0], 3));
  send(0);
  send(1);
  EXPECT_EQ(word(0) & kLinkMask, 0u);
  EXPECT_EQ(guest_.control().head[EVTCHN_FIFO_PRIORITY_DEFAULT], to_[1]);
  EXPECT_THAT(guest_.take(), ElementsAre(to_[0], to_[1]));
}

TEST_F(FifoTest, PortThatMovedToAnotherVcpuTakesNoSuccessorAlong) {
  send(0);
  guest_.take();
  ASSERT_TRUE(channels_.bind_vcpu(2, to_[0], 1));
  send(0);
  send(1);
  EXPECT_EQ(word(0) & kLinkMask, 0u);
  EXPECT_THAT(guest_.take(), ElementsAre(to_[1]));
  EXPECT_THAT(second_.take(), ElementsAre(to_[0]));
}

TEST_F(FifoTest, PortThatMovedWhileLinkedIsServedWhereItIsLinked) {
  send(0);
  ASSERT_TRUE(channels_.bind_vcpu(2, to_[0], 1));
  send(0);
  EXPECT_THAT(second_.take(), IsEmpty());
  EXPECT_THAT(guest_.take(), ElementsAre(to_[0]));
  send(0);
  EXPECT_THAT(second_.take(), ElementsAre(to_[0]));
}

TEST_F(FifoTest, ClosedPortIsNotUsedAgainWhileTheGuestHasItInAQueue) {
  send(0);
  send(1);
  ASSERT_TRUE(channels_.close(2, to_[0]));
  const Port other = channels_.alloc_unbound(2, 2, 1).value();
  EXPECT_NE(other, to_[0]);
  EXPECT_THAT(guest_.take(), ElementsAre(to_[1])) << "the closed port holds the list together, but is not pending";
  EXPECT_EQ(channels_.alloc_unbound(2, 2, 1).value(), to_[0]);
}

TEST_F(FifoTest, PortUsedAgainHasTheDefaultPriority) {
  ASSERT_TRUE(channels_.set_priority(2, to_[0], 2));
  ASSERT_TRUE(channels_.close(2, to_[0]));
  const Port again = channels_.alloc_unbound(2, 2, 1).value();
  ASSERT_EQ(again, to_[0]);
  EXPECT_EQ(channels_.status(2, 2, again)->priority, EVTCHN_FIFO_PRIORITY_DEFAULT);
}

TEST_F(FifoTest, StaleTailOfAPortUsedAgainDoesNoHarm) {
  ASSERT_TRUE(channels_.set_priority(2, to_[0], 2));
  send(0);
  guest_.take();  // still the tail of queue 2
  ASSERT_TRUE(channels_.close(2, to_[0]));
  const Port again = channels_.alloc_unbound(2, 2, 1).value();
  const Port sender = channels_.bind_interdomain(1, 2, again).value();
  ASSERT_TRUE(channels_.set_priority(2, to_[1], 2));
  ASSERT_TRUE(channels_.send(1, sender));
  send(1);
  EXPECT_EQ(guest_.word_of(again).load() & kLinkMask, 0u);
  EXPECT_THAT(guest_.take(), ElementsAre(to_[1], again));
}

TEST_F(FifoTest, EventsForMissingArrayPagesWait) {
  Port last = 0, sender = 0;
  for (int i = 0; i < 1100; ++i) std::tie(sender, last) = world_.connect(1, 2);
  ASSERT_GE(last, 1024u);
  ASSERT_TRUE(channels_.send(1, sender));
  EXPECT_TRUE(channels_.status(2, 2, last)->pending);
  EXPECT_THAT(guest_.take(), IsEmpty());
  ASSERT_TRUE(channels_.expand_array(2, kFirstArrayGfn + 1));
  EXPECT_TRUE(guest_.upcall_pending());
  EXPECT_THAT(guest_.take(), ElementsAre(last));
  EXPECT_EQ(channels_.counters(2).events_delivered, 1u) << "one event, although it has waited for the page";
  ASSERT_TRUE(channels_.send(1, sender));
  EXPECT_THAT(guest_.take(), ElementsAre(last));
}

TEST_F(FifoTest, ArrayHas128PagesAtMost) {
  for (unsigned page = 1; page < kMaxArrayPages; ++page) ASSERT_TRUE(channels_.expand_array(2, 1 + page)) << page;
  EXPECT_EQ(error_of(channels_.expand_array(2, 5)), XenErrno::kNoSpc);
}

TEST_F(FifoTest, OnlyThePagesOfTheGuestsRamCanBeOffered) {
  for (const Gfn gfn : {Gfn{kRamPages}, Gfn{kRamPages + 1}, Gfn{1} << 40, ~Gfn{0}}) {
    EXPECT_EQ(error_of(channels_.expand_array(2, gfn)), XenErrno::kInval) << gfn;
  }
  world_.add_guest(3, Abi::kFifo, {.vcpus = 2}, 0);
  ASSERT_TRUE(channels_.reset(3, 3));
  uint8_t link_bits = 0;
  EXPECT_EQ(error_of(channels_.expand_array(3, 1)), XenErrno::kOpNotSupp) << "before init_control";
  EXPECT_EQ(error_of(channels_.init_control(3, 2, 1, 0, link_bits)), XenErrno::kNoEnt);
  EXPECT_EQ(error_of(channels_.init_control(3, 0, kRamPages, 0, link_bits)), XenErrno::kInval);
  EXPECT_EQ(error_of(channels_.init_control(3, 0, 1, 4, link_bits)), XenErrno::kInval) << "alignment";
  EXPECT_EQ(error_of(channels_.init_control(3, 0, 1, 4096 - 64, link_bits)), XenErrno::kInval) << "crosses the page";
  EXPECT_EQ(error_of(channels_.init_control(3, 0, 1, ~7u, link_bits)), XenErrno::kInval);
  EXPECT_EQ(channels_.abi(3), Abi::kTwoLevel) << "nothing has changed";
  EXPECT_TRUE(channels_.init_control(3, 0, 1, 4096 - 72, link_bits));
  EXPECT_EQ(link_bits, EVTCHN_FIFO_LINK_BITS);
  EXPECT_EQ(error_of(channels_.init_control(3, 0, 2, 0, link_bits)), XenErrno::kInval) << "has one";
}

TEST_F(FifoTest, DomainWithoutFifoIsToldSo) {
  world_.add_guest(3, Abi::kTwoLevel);
  uint8_t link_bits = 0;
  EXPECT_EQ(error_of(channels_.init_control(3, 0, 1, 0, link_bits)), XenErrno::kNoSys);
  EXPECT_EQ(error_of(channels_.expand_array(3, 1)), XenErrno::kNoSys);
  const Port port = channels_.alloc_unbound(3, 3, 1).value();
  EXPECT_EQ(error_of(channels_.set_priority(3, port, 1)), XenErrno::kNoSys);
}

TEST_F(FifoTest, PendingEventsSurviveTheChangeFromTwoLevel) {
  world_.add_guest(3, Abi::kFifo, {}, 0);
  ASSERT_TRUE(channels_.reset(3, 3));
  const auto [from_masked, masked] = world_.connect(1, 3);
  const auto [from_open, open] = world_.connect(1, 3);
  GuestSide third(channels_, 3);
  third.set_mask(masked, true);
  ASSERT_TRUE(channels_.send(1, from_masked));
  ASSERT_TRUE(channels_.send(1, from_open));
  uint8_t link_bits = 0;
  ASSERT_TRUE(channels_.init_control(3, 0, kControlGfn, 512, link_bits));
  machine::memory_of(3).ram_page(20)[masked * 4 + 3] = kMaskedBit >> 24;  // as a kernel that masks its new page
  ASSERT_TRUE(channels_.expand_array(3, 20));
  GuestSide switched(channels_, 3);
  EXPECT_THAT(switched.take(), ElementsAre(open));
  ASSERT_TRUE(channels_.unmask(3, masked));
  EXPECT_THAT(switched.take(), ElementsAre(masked));
}

TEST_F(FifoTest, ResetReleasesTheGuestsPages) {
  send(0);
  ASSERT_TRUE(channels_.reset(2, 2));
  uint8_t* array = machine::memory_of(2).ram_page(kFirstArrayGfn);
  uint8_t* control = machine::memory_of(2).ram_page(kControlGfn);
  std::fill_n(array, kPageSize, 0x5a);
  std::fill_n(control, kPageSize, 0x5a);
  const auto [ours, theirs] = world_.connect(1, 2);
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_THAT(GuestSide(channels_, 2).take(), ElementsAre(theirs));
  EXPECT_EQ(std::count(array, array + kPageSize, 0x5a), 4096);
  EXPECT_EQ(std::count(control, control + kPageSize, 0x5a), 4096);
}

// --- what a hostile guest may do to its own memory

TEST_F(FifoTest, GarbageInTheWordsHarmsOnlyTheGuestThatWroteIt) {
  std::mt19937 random(1);
  auto* words = reinterpret_cast<event_word_t*>(machine::memory_of(2).ram_page(kFirstArrayGfn));
  auto* control = reinterpret_cast<event_word_t*>(machine::memory_of(2).ram_page(kControlGfn));
  for (int round = 0; round < 2000; ++round) {
    for (unsigned index = 0; index < 16; ++index)
      words[index] = static_cast<event_word_t>(random()) | (round % 2 == 0 ? kLinkedBit : 0);
    if (round % 3 == 0) std::generate_n(control, 64, std::ref(random));
    for (int channel = 0; channel < 4; ++channel) send(channel);
    ASSERT_TRUE(channels_.set_priority(2, to_[round % 4], random() % 16));
    ASSERT_TRUE(channels_.bind_vcpu(2, to_[round % 4], random() % 2));
    ASSERT_TRUE(channels_.unmask(2, to_[round % 4]));
    if (round % 10 == 0) {
      ASSERT_TRUE(channels_.close(2, to_[0]));
      if (const auto offered = channels_.alloc_unbound(2, 2, 1)) {
        ASSERT_TRUE(channels_.close(1, from_[0]));
        to_[0] = *offered;
        from_[0] = channels_.bind_interdomain(1, 2, to_[0]).value();
      }
    }
  }
  GuestSide honest(channels_, 1);
  honest.take();
  ASSERT_TRUE(channels_.send(2, to_[1]));
  EXPECT_THAT(honest.take(), ElementsAre(from_[1]));
}

TEST_F(FifoTest, SenderDoesNotWaitForAGuestThatKeepsChangingItsWords) {
  std::atomic<bool> stop{false};
  std::thread hostile([&] {
    std::mt19937 random(2);
    while (!stop.load()) guest_.word_of(to_[random() % 4]).store(static_cast<event_word_t>(random()) | kLinkedBit);
  });
  for (int i = 0; i < 20'000; ++i) send(i % 4);
  stop.store(true);
  hostile.join();
}

}  // namespace
}  // namespace xenopolis::event
