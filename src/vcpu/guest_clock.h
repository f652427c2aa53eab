// Readings of the time for guests: TSC and system time of the same instant, and the TSC's frequency.
#pragma once

#include <cstdint>
#include <functional>

#include "base/clock.h"
#include "hypercall/time.h"

namespace xenopolis::vcpu {

// The TSC's frequency is measured against the clock, over all the time since construction: no source of it exists on
// every host. Guests extrapolate from the last sample, which is at most a time slice old while they run.
class GuestClock {
 public:
  using ReadTsc = std::function<uint64_t()>;
  static uint64_t host_tsc();

  explicit GuestClock(const Clock& clock, ReadTsc read_tsc = host_tsc);

  struct Reading {
    hypercall::TimeSample sample;
    hypercall::TscScale scale;
  };
  // The first call may spin until the frequency is known to 1e-4 (kMinBaselineNs after construction).
  Reading read();

  static constexpr uint64_t kMinBaselineNs = 300'000;

 private:
  hypercall::TimeSample sample() const;

  const Clock& clock_;
  ReadTsc read_tsc_;
  hypercall::TimeSample base_;
  uint64_t baseline_ns_ = 0;  // over which scale_ was measured
  hypercall::TscScale scale_;
};

// The sample with which a guest's time goes on from what it could read until now: never back. `shown` is what the guest
// has; 0 as its system_time: nothing yet.
hypercall::TimeSample not_before(const hypercall::TimeSample& shown, const hypercall::TscScale& scale,
                                 hypercall::TimeSample next);

}  // namespace xenopolis::vcpu
