#include "hypercall/time.h"

#include "base/check.h"

namespace xenopolis::hypercall {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;

// The version protocol of vcpu_time_info and of the wall clock: odd while a writer is at work. The guest may have
// scribbled over the word, so the next even number is made from whatever is there.
template <class Write>
void write_versioned(uint32_t& version, Write write) {
  const uint32_t odd = __atomic_load_n(&version, __ATOMIC_RELAXED) | 1;
  __atomic_store_n(&version, odd, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_RELEASE);
  write();
  __atomic_store_n(&version, odd + 1, __ATOMIC_RELEASE);
}

}  // namespace

TscScale tsc_scale(uint64_t tsc_khz) {
  CHECK(tsc_khz > 0);
  uint64_t frequency = tsc_khz * 1000;
  int8_t shift = 0;
  while (frequency > 2 * kNsPerSecond) {
    frequency >>= 1;
    --shift;
  }
  while (frequency <= kNsPerSecond) {
    frequency <<= 1;
    ++shift;
  }
  return {static_cast<uint32_t>((kNsPerSecond << 32) / frequency), shift};
}

void update_vcpu_time(vcpu_time_info& time, const TscScale& scale, const TimeSample& sample) {
  write_versioned(time.version, [&] {
    __atomic_store_n(&time.tsc_timestamp, sample.tsc, __ATOMIC_RELAXED);
    __atomic_store_n(&time.system_time, sample.system_time_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&time.tsc_to_system_mul, scale.multiplier, __ATOMIC_RELAXED);
    __atomic_store_n(&time.tsc_shift, scale.shift, __ATOMIC_RELAXED);
    __atomic_store_n(&time.flags, static_cast<uint8_t>(XEN_PVCLOCK_TSC_STABLE_BIT), __ATOMIC_RELAXED);
  });
}

void publish_vcpu_time(const domain::PvVcpu& vcpu, const vcpu_info& info, GuestMemory& memory) {
  if (vcpu.time_area == 0) return;
  vcpu_time_info time;
  std::memcpy(&time, &info.time, sizeof time);
  (void)memory.write(vcpu.time_area, time);
}

void update_wall_clock(shared_info& shared, uint64_t wall_clock_ns_at_boot) {
  const uint64_t seconds = wall_clock_ns_at_boot / kNsPerSecond;
  write_versioned(shared.wc_version, [&] {
    __atomic_store_n(&shared.wc_sec, static_cast<uint32_t>(seconds), __ATOMIC_RELAXED);
    __atomic_store_n(&shared.wc_sec_hi, static_cast<uint32_t>(seconds >> 32), __ATOMIC_RELAXED);
    __atomic_store_n(&shared.wc_nsec, static_cast<uint32_t>(wall_clock_ns_at_boot % kNsPerSecond), __ATOMIC_RELAXED);
  });
}

void set_runstate(domain::PvVcpu& vcpu, int state, uint64_t now_ns) {
  vcpu_runstate_info& runstate = vcpu.runstate;
  CHECK(state >= RUNSTATE_running && state <= RUNSTATE_offline);
  if (runstate.state_entry_time != 0 && now_ns > runstate.state_entry_time) {
    runstate.time[runstate.state] += now_ns - runstate.state_entry_time;
  }
  runstate.state = state;
  runstate.state_entry_time = now_ns;
}

void publish_runstate(const domain::PvVcpu& vcpu, GuestMemory& memory) {
  if (vcpu.runstate_area != 0) (void)memory.write(vcpu.runstate_area, vcpu.runstate);
}

}  // namespace xenopolis::hypercall
