#include "base/event_loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>

#include "base/clock.h"

namespace xenopolis {

Result<EventLoop> EventLoop::create() {
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail_errno("epoll_create1");
  return EventLoop(std::move(epoll));
}

Status EventLoop::add(int fd, uint32_t events, Callback callback) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("epoll_ctl(ADD)");
  watches_[fd] = std::make_shared<Watch>(Watch{std::move(callback)});
  return {};
}

Status EventLoop::modify(int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) != 0) return fail_errno("epoll_ctl(MOD)");
  return {};
}

void EventLoop::remove(int fd) {
  if (watches_.erase(fd) != 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

EventLoop::TimerId EventLoop::at(uint64_t deadline_ns, std::function<void()> callback) {
  const TimerId id = next_timer_++;
  timers_.emplace(deadline_ns, Timer{id, std::move(callback)});
  timer_deadlines_[id] = deadline_ns;
  return id;
}

void EventLoop::cancel(TimerId timer) {
  const auto deadline = timer_deadlines_.find(timer);
  if (deadline == timer_deadlines_.end()) return;
  auto [first, last] = timers_.equal_range(deadline->second);
  for (auto it = first; it != last; ++it) {
    if (it->second.id == timer) {
      timers_.erase(it);
      break;
    }
  }
  timer_deadlines_.erase(deadline);
}

int EventLoop::timeout_until_next_timer_ms(int limit_ms) const {
  if (timers_.empty()) return limit_ms;
  const uint64_t now = MonotonicClock().now_ns();
  const uint64_t due = timers_.begin()->first;
  const int wait_ms = due <= now ? 0 : static_cast<int>(std::min<uint64_t>((due - now + 999'999) / 1'000'000, 60'000));
  return limit_ms < 0 ? wait_ms : std::min(limit_ms, wait_ms);
}

bool EventLoop::run_due_timers() {
  const uint64_t now = MonotonicClock().now_ns();
  bool any = false;
  while (!timers_.empty() && timers_.begin()->first <= now) {
    Timer timer = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    timer_deadlines_.erase(timer.id);
    timer.callback();
    any = true;
  }
  return any;
}

Status EventLoop::run_once(int timeout_ms) {
  TRY(turn(timeout_ms));
  return {};
}

Status EventLoop::run_once_patiently(int timeout_ms) {
  if (timeout_ms == 0 || !patience_.is_worthwhile()) return run_once(timeout_ms);
  const MonotonicClock clock;
  const uint64_t end = clock.now_ns() + Patience::kNs;
  do {
    if (TRY(turn(0))) {
      patience_.was_worthwhile(true);
      return {};
    }
  } while (clock.now_ns() < end);
  patience_.was_worthwhile(false);
  return run_once(timeout_ms);
}

Result<bool> EventLoop::turn(int timeout_ms) {
  std::array<epoll_event, 64> events;
  const int count = epoll_wait(epoll_.get(), events.data(), events.size(), timeout_until_next_timer_ms(timeout_ms));
  if (count < 0 && errno != EINTR) return fail_errno("epoll_wait");
  for (int i = 0; i < count; ++i) {
    const auto watch = watches_.find(events[i].data.fd);
    if (watch == watches_.end()) continue;              // removed by an earlier callback of this batch
    const std::shared_ptr<Watch> kept = watch->second;  // the callback may remove itself
    kept->callback(events[i].events);
  }
  return run_due_timers() || count != 0;
}

Status EventLoop::run() {
  stopping_ = false;
  while (!stopping_) TRY_VOID(run_once(-1));
  return {};
}

}  // namespace xenopolis
