#include "vcpu/guest_clock.h"

#include <x86intrin.h>

#include <algorithm>

namespace xenopolis::vcpu {
namespace {

// A sample is taken again when somebody came between its two readings, but not for ever.
constexpr uint64_t kMaxGapTicks = 5'000;
constexpr int kSampleTries = 5;
// Once measured over a minute, the frequency is known better than its representation.
constexpr uint64_t kMaxBaselineNs = 60'000'000'000;
// A guest's time that is further ahead than this is no measuring error: the guest scribbled over it.
constexpr uint64_t kMaxAheadNs = 100'000;

// vcpu_time_info's formula (<xen/xen.h>).
uint64_t scaled(uint64_t ticks, const hypercall::TscScale& scale) {
  const uint64_t shifted = scale.shift >= 0 ? ticks << scale.shift : ticks >> -scale.shift;
  return static_cast<uint64_t>((static_cast<unsigned __int128>(shifted) * scale.multiplier) >> 32);
}

}  // namespace

uint64_t GuestClock::host_tsc() {
  return __rdtsc();
}

GuestClock::GuestClock(const Clock& clock, ReadTsc read_tsc)
    : clock_(clock), read_tsc_(std::move(read_tsc)), base_(sample()) {}

hypercall::TimeSample GuestClock::sample() const {
  hypercall::TimeSample best;
  uint64_t best_gap = ~0ull;
  for (int i = 0; i < kSampleTries && best_gap > kMaxGapTicks; ++i) {
    const uint64_t before = read_tsc_();
    const uint64_t now_ns = clock_.now_ns();
    const uint64_t after = read_tsc_();
    if (after - before >= best_gap) continue;
    best_gap = after - before;
    best = {before + best_gap / 2, now_ns};
  }
  return best;
}

GuestClock::Reading GuestClock::read() {
  hypercall::TimeSample now = sample();
  while (baseline_ns_ == 0 && now.system_time_ns - base_.system_time_ns < kMinBaselineNs) now = sample();
  const uint64_t elapsed_ns = now.system_time_ns - base_.system_time_ns;
  if (elapsed_ns >= 2 * baseline_ns_ && baseline_ns_ < kMaxBaselineNs) {
    const uint64_t ticks = now.tsc - base_.tsc;
    const auto khz = static_cast<uint64_t>(static_cast<unsigned __int128>(ticks) * 1'000'000 / elapsed_ns);
    scale_ = hypercall::tsc_scale(std::max<uint64_t>(khz, 1));
    baseline_ns_ = elapsed_ns;
  }
  return {now, scale_};
}

hypercall::TimeSample not_before(const hypercall::TimeSample& shown, const hypercall::TscScale& scale,
                                 hypercall::TimeSample next) {
  if (shown.system_time_ns == 0 || next.tsc < shown.tsc) return next;
  const uint64_t reached_ns = shown.system_time_ns + scaled(next.tsc - shown.tsc, scale);
  if (reached_ns > next.system_time_ns && reached_ns - next.system_time_ns <= kMaxAheadNs) {
    next.system_time_ns = reached_ns;
  }
  return next;
}

}  // namespace xenopolis::vcpu
