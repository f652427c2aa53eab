// Run queue, deadlines, slice timer policy: what decides who runs and until when.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "vcpu/deadline_heap.h"
#include "vcpu/run_queue.h"
#include "vcpu/slice_timer.h"

namespace xenopolis::vcpu {
namespace {

TEST(RunQueueTest, SlotsComeOutInTheOrderTheyWentIn) {
  RunQueue queue;
  for (const uint32_t slot : {7u, 0u, 63u, 3u}) queue.push(slot);
  for (const uint32_t slot : {7u, 0u, 63u, 3u}) EXPECT_EQ(queue.pop(), slot);
  EXPECT_EQ(queue.pop(), std::nullopt);
  EXPECT_TRUE(queue.empty());
}

TEST(RunQueueTest, PushingAQueuedSlotKeepsItsPlace) {
  RunQueue queue;
  queue.push(1);
  queue.push(2);
  queue.push(1);
  EXPECT_EQ(queue.pop(), 1u);
  EXPECT_EQ(queue.pop(), 2u);
  EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(RunQueueTest, RemovedSlotHasToQueueUpAgain) {
  RunQueue queue;
  for (const uint32_t slot : {1u, 2u, 3u}) queue.push(slot);
  queue.remove(1);
  queue.remove(2);
  queue.remove(5);
  EXPECT_FALSE(queue.contains(2));
  queue.push(1);
  EXPECT_EQ(queue.pop(), 3u);
  EXPECT_EQ(queue.pop(), 1u);
  EXPECT_TRUE(queue.empty());
}

TEST(RunQueueTest, AllSlotsFitAndTakeTurns) {
  RunQueue queue;
  for (uint32_t slot = 0; slot < machine::kVcpusPerDoorbell; ++slot) queue.push(slot);
  for (uint32_t turn = 0; turn < 3 * machine::kVcpusPerDoorbell; ++turn) {
    const auto slot = queue.pop();
    ASSERT_EQ(slot, turn % machine::kVcpusPerDoorbell);
    queue.push(*slot);
  }
}

TEST(DeadlineHeapTest, EarliestComesFirstWhateverIsChangedOrRemoved) {
  DeadlineHeap heap;
  std::map<uint32_t, uint64_t> model;
  std::mt19937 random(1);  // NOLINT: the same numbers in each run
  for (int step = 0; step < 100'000; ++step) {
    const uint32_t slot = random() % machine::kVcpusPerDoorbell;
    if (random() % 3 == 0) {
      heap.set(slot, std::nullopt);
      model.erase(slot);
    } else {
      const uint64_t deadline = random() % 1000;
      heap.set(slot, deadline);
      model[slot] = deadline;
    }
    ASSERT_EQ(heap.empty(), model.empty());
    if (model.empty()) continue;
    const auto earliest =
        std::min_element(model.begin(), model.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    ASSERT_EQ(heap.first().deadline_ns, earliest->second);
    ASSERT_EQ(model.at(heap.first().slot), earliest->second);
  }
}

TEST(DeadlineHeapTest, DeadlinesComeOutInOrder) {
  DeadlineHeap heap;
  for (uint32_t slot = 0; slot < machine::kVcpusPerDoorbell; ++slot) heap.set(slot, (slot * 37) % 64);
  for (uint64_t expected = 0; !heap.empty(); ++expected) {
    EXPECT_EQ(heap.first().deadline_ns, expected);
    heap.set(heap.first().slot, std::nullopt);
  }
}

TEST(SliceTimerPolicyTest, TimerThatFiresInTimeIsLeftAlone) {
  SliceTimerPolicy policy;
  EXPECT_TRUE(policy.must_arm(100, 1100));
  EXPECT_FALSE(policy.must_arm(200, 1100));
  EXPECT_FALSE(policy.must_arm(300, 1300)) << "fires at 1100: early is harmless";
}

TEST(SliceTimerPolicyTest, TimerThatFiresTooLateIsSetAnew) {
  SliceTimerPolicy policy;
  EXPECT_TRUE(policy.must_arm(100, 1100));
  EXPECT_TRUE(policy.must_arm(200, 500));
  EXPECT_FALSE(policy.must_arm(300, 1300));
}

TEST(SliceTimerPolicyTest, TimerThatHasFiredIsSetAnew) {
  SliceTimerPolicy policy;
  EXPECT_TRUE(policy.must_arm(100, 1100));
  EXPECT_TRUE(policy.must_arm(1100, 2100));
  EXPECT_FALSE(policy.must_arm(1101, 2100));
}

TEST(SliceTimerPolicyTest, DeadlineThatHasPassedIsArmedEachTime) {
  SliceTimerPolicy policy;
  EXPECT_TRUE(policy.must_arm(1000, 900));
  EXPECT_TRUE(policy.must_arm(1001, 900));
}

}  // namespace
}  // namespace xenopolis::vcpu
