#include "base/clock.h"

#include <ctime>

namespace xenopolis {

namespace {

uint64_t now_ns_of(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(time.tv_nsec);
}

}  // namespace

uint64_t MonotonicClock::now_ns() const {
  return now_ns_of(CLOCK_MONOTONIC);
}

uint64_t CalendarClock::now_ns() const {
  return now_ns_of(CLOCK_REALTIME);
}

}  // namespace xenopolis
