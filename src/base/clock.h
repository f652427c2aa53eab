// Time, injectable. All times are nanoseconds of CLOCK_MONOTONIC, which is also Xen system time here, but for those
// that people read.
#pragma once

#include <cstdint>

namespace xenopolis {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual uint64_t now_ns() const = 0;
};

class MonotonicClock final : public Clock {
 public:
  uint64_t now_ns() const override;
};

// Nanoseconds since 1970 (CLOCK_REALTIME): for people. It may jump.
class CalendarClock final : public Clock {
 public:
  uint64_t now_ns() const override;
};

class ManualClock final : public Clock {
 public:
  uint64_t now_ns() const override { return now_ns_; }
  void advance_ns(uint64_t by_ns) { now_ns_ += by_ns; }

 private:
  uint64_t now_ns_ = 1;
};

}  // namespace xenopolis
