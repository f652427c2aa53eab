#include "console/ring.h"

#include <gtest/gtest.h>

#include <thread>

#include "console/fake_guest.h"

namespace xenopolis::console {
namespace {

class OutputRingTest : public testing::Test {
 protected:
  std::string take(size_t limit = 4096) {
    std::string buffer(limit, '?');
    const Taken taken = ring_.take(buffer);
    invalid_ = taken.invalid_index;
    buffer.resize(taken.bytes);
    return buffer;
  }

  FakeGuest guest_;
  OutputRing ring_{guest_.page};
  bool invalid_ = false;
};

TEST_F(OutputRingTest, WhatTheGuestWroteComesOutOnceAndInOrder) {
  guest_.write("first ");
  guest_.write("second");
  EXPECT_EQ(take(), "first second");
  EXPECT_EQ(take(), "");
  guest_.write("third");
  EXPECT_EQ(take(), "third");
}

TEST_F(OutputRingTest, TakingFreesThePlace) {
  const std::string full(2048, 'x');
  EXPECT_EQ(guest_.write(full + "y"), 2048u);
  EXPECT_EQ(take(), full);
  EXPECT_EQ(guest_.page.out_cons, 2048u);
  EXPECT_EQ(guest_.write("z"), 1u);
}

TEST_F(OutputRingTest, TextThatWrapsAroundTheEndIsWhole) {
  guest_.write(std::string(2040, '.'));
  take();
  guest_.write("across the end of the ring");
  EXPECT_EQ(take(), "across the end of the ring");
}

TEST_F(OutputRingTest, IndicesThatWrapAround32BitsAreFine) {
  guest_.page.out_cons = guest_.page.out_prod = 0xffff'fffc;
  OutputRing ring(guest_.page);
  guest_.write("wraps twice");
  std::string buffer(64, '?');
  EXPECT_EQ(ring.take(buffer).bytes, 11u);
  EXPECT_EQ(buffer.substr(0, 11), "wraps twice");
}

TEST_F(OutputRingTest, SmallBufferTakesAPartAndLeavesTheRest) {
  guest_.write("0123456789");
  EXPECT_EQ(take(4), "0123");
  EXPECT_EQ(guest_.page.out_cons, 4u);
  EXPECT_EQ(take(4), "4567");
  EXPECT_EQ(take(4), "89");
}

TEST_F(OutputRingTest, BackendBeginsWhereItsPredecessorStopped) {
  guest_.write("taken already, ");
  guest_.page.out_cons = guest_.page.out_prod;
  guest_.write("new");
  OutputRing successor(guest_.page);
  std::string buffer(64, '?');
  EXPECT_EQ(successor.take(buffer).bytes, 3u);
}

TEST_F(OutputRingTest, ImpossibleIndexDropsTheOutputAndTheRingGoesOnWorking) {
  for (const uint32_t ahead : {2049u, 0x8000'0000u, 0xffff'ffffu}) {
    guest_.page.out_prod += ahead;
    EXPECT_EQ(take(), "");
    EXPECT_TRUE(invalid_) << ahead;
    EXPECT_EQ(guest_.page.out_cons, guest_.page.out_prod);
    guest_.write("sane again");
    EXPECT_EQ(take(), "sane again");
    EXPECT_FALSE(invalid_);
  }
}

TEST_F(OutputRingTest, OurIndexIsNeverReadBackFromTheGuest) {
  guest_.write("abc");
  take();
  guest_.page.out_cons = 0x1234'5678;
  guest_.page.out_prod = 5;
  take();
  EXPECT_FALSE(invalid_);
  EXPECT_EQ(guest_.page.out_cons, 5u);
}

TEST_F(OutputRingTest, GarbageInTheWholePageTakesNoMoreThanARing) {
  uint32_t state = 1;
  for (int round = 0; round < 2000; ++round) {
    auto* words = reinterpret_cast<uint32_t*>(&guest_.page);
    for (size_t i = 0; i < sizeof guest_.page / 4; ++i) words[i] = state = state * 1664525 + 1013904223;
    // Now and then an index near enough to be believed.
    if (round % 2 == 0) guest_.page.out_prod = static_cast<uint32_t>(round * 700);
    EXPECT_LE(take().size(), 2048u);
  }
}

TEST_F(OutputRingTest, GuestOnAnotherThreadLosesAndReordersNothing) {
  constexpr uint32_t kBytes = 200'000;
  std::thread writer([&] {
    xencons_interface& page = guest_.page;
    for (uint32_t i = 0; i < kBytes; ++i) {
      while (i - std::atomic_ref(page.out_cons).load(std::memory_order_acquire) >= sizeof page.out)
        std::this_thread::yield();
      page.out[MASK_XENCONS_IDX(i, page.out)] = static_cast<char>(i % 251);
      std::atomic_ref(page.out_prod).store(i + 1, std::memory_order_release);
    }
  });
  std::vector<char> buffer(777);
  uint32_t next = 0;
  while (next < kBytes) {
    const Taken taken = ring_.take(buffer);
    if (taken.bytes == 0) std::this_thread::yield();
    for (uint32_t i = 0; i < taken.bytes; ++i, ++next) ASSERT_EQ(buffer[i], static_cast<char>(next % 251)) << next;
  }
  writer.join();
}

}  // namespace
}  // namespace xenopolis::console
