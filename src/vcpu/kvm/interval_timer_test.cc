#include "vcpu/kvm/interval_timer.h"

#include <gtest/gtest.h>

namespace xenopolis::vcpu::kvm {
namespace {

constexpr uint8_t kMode0 = 0xb0, kLatch = 0x80;
constexpr uint8_t kGate = 1, kSpeaker = 2, kOutput = 0x20;

class IntervalTimerTest : public testing::Test {
 protected:
  uint8_t in(uint32_t port) { return timer_.read(port, now_ns_); }
  void out(uint32_t port, uint8_t value) { timer_.write(port, value, now_ns_); }

  void load(uint16_t count) {
    out(0x43, kMode0);
    out(0x42, static_cast<uint8_t>(count));
    out(0x42, static_cast<uint8_t>(count >> 8));
    in_the_middle_ = false;
  }
  unsigned counter() {
    const unsigned low = in(0x42);
    return low | unsigned{in(0x42)} << 8;
  }
  // To the middle of a tick, so that rounding is no matter.
  void pass_ticks(uint64_t ticks) {
    now_ns_ += (2 * ticks + (in_the_middle_ ? 0 : 1)) * 500'000'000 / IntervalTimer::kFrequencyHz;
    in_the_middle_ = true;
  }

  IntervalTimer timer_;
  uint64_t now_ns_ = 77'000'000'000'000;
  bool in_the_middle_ = false;
};

TEST_F(IntervalTimerTest, CountsDownAtTheFrequencyOfThePcsTimer) {
  out(0x61, kGate);
  load(0xffff);
  EXPECT_EQ(counter(), 0xffffu);
  pass_ticks(0x100);
  EXPECT_EQ(counter(), 0xfeffu);
  pass_ticks(0x1234);
  EXPECT_EQ(counter(), 0xffffu - 0x1334);
}

TEST_F(IntervalTimerTest, OutputRisesWhenTheCountIsAtZeroAndStays) {
  out(0x61, kGate);
  load(1000);
  pass_ticks(999);
  EXPECT_EQ(in(0x61), kGate);
  pass_ticks(1);
  EXPECT_EQ(in(0x61), kGate | kOutput);
  pass_ticks(1);
  EXPECT_EQ(counter(), 0xffffu) << "it counts on";
  pass_ticks(100'000);
  EXPECT_EQ(in(0x61), kGate | kOutput);
  load(1000);
  EXPECT_EQ(in(0x61), kGate) << "until it has counted again";
}

TEST_F(IntervalTimerTest, NoCountIsTheLongest) {
  out(0x61, kGate);
  load(0);
  pass_ticks(0xffff);
  EXPECT_EQ(counter(), 1u);
  EXPECT_EQ(in(0x61), kGate);
  pass_ticks(1);
  EXPECT_EQ(in(0x61), kGate | kOutput);
}

TEST_F(IntervalTimerTest, ClosedGateHoldsTheCount) {
  load(1000);
  pass_ticks(5000);
  EXPECT_EQ(counter(), 1000u);
  EXPECT_EQ(in(0x61), 0);
  in_the_middle_ = false;
  out(0x61, kGate | kSpeaker);
  pass_ticks(400);
  EXPECT_EQ(in(0x61), kGate | kSpeaker);
  out(0x61, 0);
  pass_ticks(5000);
  EXPECT_EQ(counter(), 600u);
}

TEST_F(IntervalTimerTest, LatchedCountIsReadOnceAndWholly) {
  out(0x61, kGate);
  load(0x8000);
  out(0x43, kLatch);
  pass_ticks(0x300);
  out(0x43, kLatch);  // the first one counts until it is read
  EXPECT_EQ(in(0x42), 0x00);
  EXPECT_EQ(in(0x42), 0x80);
  EXPECT_EQ(counter(), 0x8000u - 0x300);
}

TEST_F(IntervalTimerTest, CountThatIsHalfGivenDoesNotRun) {
  out(0x61, kGate);
  load(10);
  pass_ticks(11);
  out(0x42, 0x01);
  EXPECT_EQ(in(0x61), kGate);
  out(0x42, 0x00);
  in_the_middle_ = false;
  pass_ticks(1);
  EXPECT_EQ(in(0x61), kGate | kOutput);
}

TEST_F(IntervalTimerTest, OtherPortsAndChannelsAreNotThere) {
  out(0x61, kGate);
  load(100);
  for (uint32_t port : {0x40u, 0x41u, 0x43u, 0x60u, 0x62u, 0x142u, 0x10042u}) {
    EXPECT_EQ(in(port), 0xff) << port;
    out(port, 0x00);
  }
  out(0x43, 0x30);  // channel 0
  out(0x43, 0xe8);  // read back channel 2
  EXPECT_EQ(counter(), 100u);
}

// Its uses are a guest's: any value at any time is defined. For the sanitizers.
TEST_F(IntervalTimerTest, TakesAnythingAtAnyTime) {
  uint32_t random = 1;
  for (int i = 0; i < 100'000; ++i) {
    random = random * 1664525 + 1013904223;
    const uint32_t port = (random >> 30) == 0 ? 0x61 : 0x40 + (random >> 30);
    if ((random & 1 << 20) != 0) out(port, static_cast<uint8_t>(random >> 8));
    in(port);
    now_ns_ += uint64_t{random} << (random >> 28);
  }
}

}  // namespace
}  // namespace xenopolis::vcpu::kvm
