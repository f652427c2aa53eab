// Time, CPUs, and giving up.
#pragma once

#include <fmt/format.h>
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>

#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <vector>

namespace xenopolis::bench {

// CLOCK_MONOTONIC: the same on all CPUs, which the time-stamp counter need not be in a virtual machine.
inline uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

inline void spin_for_ns(uint64_t ns) {
  for (const uint64_t end = now_ns() + ns; now_ns() < end;) _mm_pause();
}

// What one thread writes and another does not want to be disturbed by.
template <class T>
struct alignas(128) OwnLine {
  T value{};
};

// A figure that cannot be trusted is worse than none: the whole run ends.
template <class... Arguments>
[[noreturn]] void give_up(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  fmt::print(stderr, "event: {}\n", fmt::format(format, std::forward<Arguments>(arguments)...));
  std::exit(1);
}

inline void require(bool condition, const char* claim) {
  if (!condition) give_up("not so: {}", claim);
}

// The CPUs that measurements use.
struct Cpus {
  int consumer = 0;
  int sender = 0;
};

inline Cpus choose_cpus() {
  cpu_set_t set;
  require(sched_getaffinity(0, sizeof set, &set) == 0, "the CPUs of this process are known");
  std::vector<int> usable;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) usable.push_back(cpu);
  }
  require(usable.size() >= 2, "there are two CPUs, one for the sender and one for the consumer");
  return {usable[0], usable[1]};
}

// The calling thread; `name` is what perf and ps show.
inline void pin_to(int cpu, const char* name) {
  pthread_setname_np(pthread_self(), name);
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  require(sched_setaffinity(0, sizeof set, &set) == 0, "a thread can be bound to a CPU");
}

}  // namespace xenopolis::bench
