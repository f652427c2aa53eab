// What runner threads count: for people and their monitoring, never for decisions.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <functional>

#include "machine/doorbell.h"
#include "machine/layout.h"

namespace xenopolis::machine {

using Counter = std::atomic<uint64_t>;

// Counters have one writer each, hence no locked instruction; whoever reads finds any value of the recent past.
inline void count(Counter& counter, uint64_t by = 1) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

// Times in ns, by powers of two: buckets[i] counts those with bit_width i, that is below 2^i and not below 2^(i-1).
struct Histogram {
  static constexpr unsigned kBuckets = 36;  // the last one has everything from 17 s on
  std::array<Counter, kBuckets> buckets;
  Counter sum_ns;

  void add(uint64_t ns) {
    count(buckets[std::min<unsigned>(static_cast<unsigned>(std::bit_width(ns)), kBuckets - 1)]);
    count(sum_ns, ns);
  }
};

// One thread's. All fields: written by that thread only, relaxed. They go on when another process takes over the number
// (a cell's successor, a daemon that was started again), so they never decrease while the machine exists.
struct Statistics {
  static constexpr unsigned kHypercalls = 64, kExits = 8, kVectors = 32, kAbis = 3, kPriorities = 16,
                            kServiceCounters = 96,
                            // A look at the clock costs a tenth of the smallest request.
      kRequestSample = 16;

  std::array<Counter, kHypercalls> hypercalls;  // by number; in the last one all numbers beyond
  std::array<Counter, kExits> exits;            // by vcpu::ExitReason
  std::array<Counter, kVectors> traps;          // exceptions given to guests, by vector
  Counter upcalls;
  // Events that became pending, sent by this thread: by the receiver's event::Abi and the port's priority.
  std::array<std::array<Counter, kPriorities>, kAbis> events_sent;
  Histogram wake;     // from a sender's futex wake until the runner is awake
  Histogram delay;    // a vCPU is runnable, and waits for others to finish their slice
  Histogram slice;    // what it then runs for
  Histogram request;  // a daemon's: for one in kRequestSample, from its begin until there is an answer
  // A daemon's own: its program gives the meaning.
  std::array<Counter, kServiceCounters> service;
};
static_assert(sizeof(Statistics) <= kStatisticsStride);

// Doorbells' numbers, then this one: polisd.
inline constexpr uint32_t kPolisdStatistics = kDoorbellCount;
inline constexpr uint32_t kStatisticsCount = kDoorbellCount + 1;

inline Statistics& statistics_of(uint32_t number) {
  return table_element<Statistics, kStatisticsOffset, kStatisticsStride>(number);
}

// Where this thread counts what it does for whatever it runs; nullptr: nowhere. Set by who owns the number, and reset
// before the machine goes.
inline constinit thread_local Statistics* my_statistics = nullptr;

class Machine;
// Calls `body` with the numbers that somebody has counted in. Untouched pages are left untouched: a look would
// allocate them.
void for_each_statistics(const Machine& machine, const std::function<void(uint32_t, const Statistics&)>& body);

}  // namespace xenopolis::machine
