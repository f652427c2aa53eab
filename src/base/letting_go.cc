#include "base/letting_go.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.h"

namespace xenopolis {

Result<std::unique_ptr<LettingGo>> LettingGo::create(EventLoop& loop, std::vector<std::span<uint8_t>> memory,
                                                     uint64_t delay_ns) {
  Fd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return fail_errno("timerfd_create");
  std::unique_ptr<LettingGo> letting_go(new LettingGo(loop, std::move(timer), std::move(memory), delay_ns));
  TRY_VOID(loop.add(letting_go->timer_.get(), EPOLLIN, [self = letting_go.get()](uint32_t) {
    uint64_t expirations = 0;
    if (read(self->timer_.get(), &expirations, sizeof(expirations)) > 0) self->state_ = State::kLettingGo;
  }));
  return letting_go;
}

bool LettingGo::turn() {
  if (state_ == State::kWaiting) return false;
  if (state_ == State::kLettingGo) {
    if (let_go_of_slice()) return true;
    state_ = State::kIdle;  // what others did meanwhile waits for whatever happens next
    return false;
  }
  itimerspec delay{};
  delay.it_value.tv_sec = static_cast<time_t>(delay_ns_ / 1'000'000'000);
  delay.it_value.tv_nsec = static_cast<long>(delay_ns_ % 1'000'000'000);
  CHECK(timerfd_settime(timer_.get(), 0, &delay, nullptr) == 0);
  state_ = State::kWaiting;
  return false;
}

// Of a shared mapping MADV_DONTNEED frees no page of the file, and since Linux 6.13 it frees empty page tables.
bool LettingGo::let_go_of_slice() {
  const std::span<uint8_t> memory = memory_[range_];
  const uint64_t bytes = std::min<uint64_t>(kSlice, memory.size() - offset_);
  madvise(memory.data() + offset_, bytes, MADV_DONTNEED);
  offset_ += bytes;
  if (offset_ < memory.size()) return true;
  offset_ = 0;
  range_ = (range_ + 1) % memory_.size();
  return range_ != 0;
}

}  // namespace xenopolis
