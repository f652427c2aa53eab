#include "hypercall/time.h"

#include <gtest/gtest.h>

#include "hypercall/test_domain.h"

namespace xenopolis::hypercall {
namespace {

// As a guest computes it (<xen/xen.h>, struct vcpu_time_info).
uint64_t guest_ns(const vcpu_time_info& time, uint64_t tsc) {
  uint64_t delta = tsc - time.tsc_timestamp;
  delta = time.tsc_shift >= 0 ? delta << time.tsc_shift : delta >> -time.tsc_shift;
  return time.system_time +
         static_cast<uint64_t>((static_cast<unsigned __int128>(delta) * time.tsc_to_system_mul) >> 32);
}

TEST(TimeTest, GuestsComputeNanosecondsAtAnyTscFrequency) {
  for (const uint64_t khz : {1'000ull, 100'000ull, 999'999ull, 1'000'000ull, 1'000'001ull, 2'000'000ull, 2'100'000ull,
                             2'999'999ull, 5'000'000ull, 40'000'000ull}) {
    vcpu_time_info time{};
    update_vcpu_time(time, tsc_scale(khz), {.tsc = 1000, .system_time_ns = 5'000});
    const uint64_t after_a_second = guest_ns(time, 1000 + khz * 1000);
    EXPECT_NEAR(static_cast<double>(after_a_second), 1'000'005'000.0, 100) << khz << " kHz";
    EXPECT_NE(time.tsc_to_system_mul >> 31, 0u) << khz;
  }
}

TEST(TimeTest, VersionIsEvenAndChangesWithEveryUpdateWhateverTheGuestWrote) {
  vcpu_time_info time{};
  for (const uint32_t version : {0u, 1u, 6u, 7u, 0xffffffffu}) {
    time.version = version;
    update_vcpu_time(time, tsc_scale(1'000'000), {});
    EXPECT_EQ(time.version % 2, 0u);
    EXPECT_NE(time.version, version);
  }
}

TEST(TimeTest, WallClockIsTheTimeOfDayAtBoot) {
  shared_info shared{};
  update_wall_clock(shared, (1ull << 32) * 1'000'000'000 + 1'700'000'000'000'000'005);
  EXPECT_EQ(shared.wc_sec, 1'700'000'000u);
  EXPECT_EQ(shared.wc_sec_hi, 1u);
  EXPECT_EQ(shared.wc_nsec, 5u);
  EXPECT_EQ(shared.wc_version, 2u);
}

TEST(TimeTest, RunstateChargesTimeToTheStateThatWasLeft) {
  domain::PvVcpu vcpu;
  set_runstate(vcpu, RUNSTATE_runnable, 100);
  set_runstate(vcpu, RUNSTATE_running, 130);
  set_runstate(vcpu, RUNSTATE_blocked, 150);
  set_runstate(vcpu, RUNSTATE_running, 1150);
  EXPECT_EQ(vcpu.runstate.time[RUNSTATE_runnable], 30u);
  EXPECT_EQ(vcpu.runstate.time[RUNSTATE_running], 20u);
  EXPECT_EQ(vcpu.runstate.time[RUNSTATE_blocked], 1000u);
  EXPECT_EQ(vcpu.runstate.state_entry_time, 1150u);
}

TEST(TimeTest, RegisteredAreasAreWrittenAndBadOnesLeftAlone) {
  TestDomain domain;
  set_runstate(domain.vcpu, RUNSTATE_running, 100);
  const uint64_t area = domain.put(vcpu_runstate_info{});
  domain.vcpu.runstate_area = area;
  publish_runstate(domain.vcpu, domain.memory);
  EXPECT_EQ(domain.get<vcpu_runstate_info>(area).state_entry_time, 100u);
  domain.vcpu.runstate_area = kNowhere;
  domain.vcpu.time_area = ~0ull;
  publish_runstate(domain.vcpu, domain.memory);
  publish_vcpu_time(domain.vcpu, domain.info(), domain.memory);
}

}  // namespace
}  // namespace xenopolis::hypercall
