// What ends guest execution in time: a timer that sends the runner thread the kick signal.
#pragma once

#include <time.h>

#include <cstdint>

#include "base/result.h"

namespace xenopolis::vcpu {

// When the timer must be set anew. Setting costs a system call, a kick too many costs the guest an exit; so a timer
// that will fire before it is needed stays as it is.
class SliceTimerPolicy {
 public:
  // True: set the timer to `deadline_ns` now, since a kick by then is not under way.
  bool must_arm(uint64_t now_ns, uint64_t deadline_ns) {
    if (armed_ns_ > now_ns && armed_ns_ <= deadline_ns) return false;
    armed_ns_ = deadline_ns;
    return true;
  }

 private:
  uint64_t armed_ns_ = 0;  // a time that has passed: the timer has fired, or is about to
};

class SliceTimer {
 public:
  // For the calling thread.
  static Result<SliceTimer> create();
  SliceTimer(SliceTimer&& other) noexcept;
  SliceTimer& operator=(SliceTimer&&) = delete;
  ~SliceTimer();

  // A kick will come at or before `deadline_ns` (CLOCK_MONOTONIC), at once if that has passed.
  void ensure(uint64_t now_ns, uint64_t deadline_ns);

 private:
  explicit SliceTimer(timer_t timer) : timer_(timer), exists_(true) {}

  timer_t timer_;
  bool exists_;
  SliceTimerPolicy policy_;
};

}  // namespace xenopolis::vcpu
