#include "base/clock.h"

#include <ctime>

namespace xenopolis {

uint64_t MonotonicClock::now_ns() const {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(time.tv_nsec);
}

}  // namespace xenopolis
