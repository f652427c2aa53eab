#include "vcpu/guest_clock.h"

#include <gtest/gtest.h>

namespace xenopolis::vcpu {
namespace {

// A clock and a TSC of 2.5 GHz that advance a little with each look.
class SteppingClock final : public Clock {
 public:
  uint64_t now_ns() const override { return now_ns_ += 20; }
  uint64_t tsc() const { return 1'000'000 + now_ns_ * 5 / 2; }
  void advance_ns(uint64_t by_ns) { now_ns_ += by_ns; }

 private:
  mutable uint64_t now_ns_ = 1'000'000;
};

// As a guest computes it (<xen/xen.h>, struct vcpu_time_info).
uint64_t guest_time_ns(const GuestClock::Reading& reading, uint64_t tsc) {
  const uint64_t ticks = tsc - reading.sample.tsc;
  const uint64_t shifted = reading.scale.shift >= 0 ? ticks << reading.scale.shift : ticks >> -reading.scale.shift;
  return reading.sample.system_time_ns +
         static_cast<uint64_t>((static_cast<unsigned __int128>(shifted) * reading.scale.multiplier) >> 32);
}

TEST(GuestClockTest, GuestsExtrapolateTheSystemTimeFromTheFirstReadingOn) {
  const SteppingClock clock;
  GuestClock guest_clock(clock, [&] { return clock.tsc(); });
  const GuestClock::Reading reading = guest_clock.read();
  const uint64_t later = reading.sample.system_time_ns + 1'000'000;
  EXPECT_NEAR(static_cast<double>(guest_time_ns(reading, 1'000'000 + later * 5 / 2)), static_cast<double>(later), 200);
}

TEST(GuestClockTest, LongerMeasurementMakesTheFrequencyExact) {
  SteppingClock clock;
  GuestClock guest_clock(clock, [&] { return clock.tsc(); });
  (void)guest_clock.read();
  clock.advance_ns(10'000'000'000);
  const GuestClock::Reading reading = guest_clock.read();
  const uint64_t later = reading.sample.system_time_ns + 1'000'000'000;
  EXPECT_NEAR(static_cast<double>(guest_time_ns(reading, 1'000'000 + later * 5 / 2)), static_cast<double>(later), 1000);
}

TEST(GuestClockTest, NewSampleNeverTakesAGuestBack) {
  const hypercall::TscScale scale = hypercall::tsc_scale(1'000'000);  // 1 GHz
  const hypercall::TimeSample shown{1000, 5000};
  EXPECT_EQ(not_before(shown, scale, {2000, 5900}).system_time_ns, 6000u) << "the guest could read 6000 already";
  EXPECT_EQ(not_before(shown, scale, {2000, 6100}).system_time_ns, 6100u);
}

TEST(GuestClockTest, FirstSampleAndOneFarBehindAreTakenAsTheyAre) {
  const hypercall::TscScale scale = hypercall::tsc_scale(1'000'000);
  EXPECT_EQ(not_before({}, scale, {2000, 5900}).system_time_ns, 5900u);
  EXPECT_EQ(not_before({1000, 500'005'000}, scale, {2000, 6000}).system_time_ns, 6000u);
}

}  // namespace
}  // namespace xenopolis::vcpu
