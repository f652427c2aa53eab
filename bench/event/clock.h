// Time and CPUs.
#pragma once

#include <immintrin.h>
#include <pthread.h>

#include <cstdint>
#include <vector>

#include "common/basics.h"
#include "common/placement.h"

namespace xenopolis::bench {

inline void spin_for_ns(uint64_t ns) {
  for (const uint64_t end = now_ns() + ns; now_ns() < end;) _mm_pause();
}

// What one thread writes and another does not want to be disturbed by.
template <class T>
struct alignas(128) OwnLine {
  T value{};
};

// The CPUs that measurements use.
struct Cpus {
  int consumer = 0;
  int sender = 0;
};

inline Cpus choose_cpus() {
  const std::vector<int> usable = usable_cpus();
  require(usable.size() >= 2, "there are two CPUs, one for the sender and one for the consumer");
  return {usable[0], usable[1]};
}

// The calling thread; `name` is what perf and ps show.
inline void pin_to(int cpu, const char* name) {
  pthread_setname_np(pthread_self(), name);
  pin(0, cpu);
}

}  // namespace xenopolis::bench
