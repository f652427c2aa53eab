// One thread's epoll loop: descriptors, timers, and work to do before sleeping.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>

#include "base/fd.h"
#include "base/result.h"

namespace xenopolis {

// Whether to look for a moment, before going to sleep, if there is something to do after all. Who has got an answer may
// have the next request, and if that takes less time than to wake somebody who sleeps, both are better off. But it is
// in vain if there is none, or if whoever has it needs the CPU on which he is waited for: so each time in vain doubles
// how often it is left out.
class Patience {
 public:
  // About what it costs to be woken.
  static constexpr uint64_t kNs = 25'000;

  bool is_worthwhile() { return left_out_++ >= leave_out_; }
  void was_worthwhile(bool was) {
    left_out_ = 0;
    leave_out_ = was ? leave_out_ / 4 : std::min(leave_out_ * 2 + 1, kMostLeftOut);
  }

 private:
  static constexpr uint32_t kMostLeftOut = 511;
  uint32_t leave_out_ = kMostLeftOut;
  uint32_t left_out_ = 0;
};

// Not thread-safe: every call comes from the loop's own thread (callbacks included). A callback may add and remove
// descriptors, its own too.
class EventLoop {
 public:
  using Callback = std::function<void(uint32_t epoll_events)>;
  using TimerId = uint64_t;

  static Result<EventLoop> create();

  // `events` as epoll_ctl(2): EPOLLIN, EPOLLOUT, EPOLLET... The loop does not own `fd`; remove it before closing.
  Status add(int fd, uint32_t events, Callback callback);
  Status modify(int fd, uint32_t events);
  void remove(int fd);

  // Calls back once at or after `deadline_ns` of CLOCK_MONOTONIC.
  TimerId at(uint64_t deadline_ns, std::function<void()> callback);
  void cancel(TimerId timer);

  // Until stop(). run_once waits at most `timeout_ms` (-1: no limit) for one batch of events.
  Status run();
  Status run_once(int timeout_ms);
  // As run_once(), but looks for a while before it sleeps, see Patience.
  Status run_once_patiently(int timeout_ms);
  void stop() { stopping_ = true; }
  // Since the last run().
  bool is_stopping() const { return stopping_; }

 private:
  struct Timer {
    TimerId id;
    std::function<void()> callback;
  };
  struct Watch {
    Callback callback;
  };

  explicit EventLoop(Fd epoll) : epoll_(std::move(epoll)) {}
  int timeout_until_next_timer_ms(int limit_ms) const;
  bool run_due_timers();
  // Whether there was anything to do, be it a timer: its callback may have changed what the caller waits for.
  Result<bool> turn(int timeout_ms);

  Fd epoll_;
  std::unordered_map<int, std::shared_ptr<Watch>> watches_;
  std::multimap<uint64_t, Timer> timers_;
  std::unordered_map<TimerId, uint64_t> timer_deadlines_;
  TimerId next_timer_ = 1;
  bool stopping_ = false;
  Patience patience_;
};

}  // namespace xenopolis
