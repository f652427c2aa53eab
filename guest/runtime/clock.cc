#include "runtime/clock.h"

#include "runtime/atomic.h"

namespace xenopolis::guest::clock {
namespace {

struct Scale {
  uint32_t multiplier;  // 0.32 fixed point
  int8_t shift;         // applied to the TSC difference first
};

uint64_t scaled(uint64_t ticks, Scale scale) {
  ticks = scale.shift >= 0 ? ticks << scale.shift : ticks >> -scale.shift;
  return static_cast<uint64_t>(static_cast<unsigned __int128>(ticks) * scale.multiplier >> 32);
}

struct Reading {
  uint64_t now_ns;
  uint64_t tsc;
  Scale scale;
};

// The version is odd while the hypervisor writes, and differs afterwards. It writes rarely: the loop ends after one or
// two turns unless the hypervisor is broken, and then time is lost anyway.
Reading read() {
  const volatile vcpu_time_info_t& time = domain::vcpu().time;
  for (;;) {
    uint32_t version = load(time.version);
    Scale scale{time.tsc_to_system_mul, time.tsc_shift};
    uint64_t base_tsc = time.tsc_timestamp;
    uint64_t base_ns = time.system_time;
    uint64_t tsc = read_tsc();
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if ((version & 1) != 0 || version != time.version) {
      asm volatile("pause");
      continue;
    }
    uint64_t ticks = tsc > base_tsc ? tsc - base_tsc : 0;
    return {base_ns + scaled(ticks, scale), tsc, scale};
  }
}

}  // namespace

uint64_t read_tsc() {
  uint32_t low, high;
  // LFENCE: RDTSC must not be executed before the loads above it.
  asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
  return uint64_t{high} << 32 | low;
}

uint64_t now_ns() {
  return read().now_ns;
}

uint64_t since_ns(uint64_t tsc) {
  Reading reading = read();
  return reading.tsc > tsc ? scaled(reading.tsc - tsc, reading.scale) : 0;
}

}  // namespace xenopolis::guest::clock
