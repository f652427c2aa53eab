#include "vcpu/slice_timer.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"
#include "machine/doorbell.h"

namespace xenopolis::vcpu {

Result<SliceTimer> SliceTimer::create() {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = machine::Doorbells::kick_signal();
  event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));  // timer_create(2): glibc has no name for it
  timer_t timer{};
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) return fail_errno("creating the slice timer");
  return SliceTimer(timer);
}

SliceTimer::SliceTimer(SliceTimer&& other) noexcept
    : timer_(other.timer_), exists_(std::exchange(other.exists_, false)), policy_(other.policy_) {}

SliceTimer::~SliceTimer() {
  if (exists_) timer_delete(timer_);
}

void SliceTimer::ensure(uint64_t now_ns, uint64_t deadline_ns) {
  if (!policy_.must_arm(now_ns, deadline_ns)) return;
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000);
  when.it_value.tv_nsec = static_cast<long>(deadline_ns % 1'000'000'000);
  if (deadline_ns == 0) when.it_value.tv_nsec = 1;  // zero would disarm it
  CHECK(timer_settime(timer_, TIMER_ABSTIME, &when, nullptr) == 0);
}

}  // namespace xenopolis::vcpu
