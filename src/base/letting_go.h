// Unmaps what a process has touched of shared memory and does not use any more.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/event_loop.h"

namespace xenopolis {

// A daemon that may look into every domain is resident with a few pages of each, and a page table for each extent,
// for as long as it lives: until it lets go of them. Nothing is lost; what is touched again comes back with a page
// fault.
//
// Some time after the loop has had anything to do everything is let go, once for all of that, one slice between two
// turns of the loop. A loop that sleeps has no timer. Belongs to the loop's thread; the loop must outlive it.
class LettingGo {
 public:
  static constexpr uint64_t kDelayNs = 2'000'000'000;
  static constexpr uint64_t kSlice = uint64_t{1} << 30;

  // `memory`: shared mappings of files, by whole pages.
  static Result<std::unique_ptr<LettingGo>> create(EventLoop& loop, std::vector<std::span<uint8_t>> memory,
                                                   uint64_t delay_ns = kDelayNs);
  ~LettingGo() { loop_.remove(timer_.get()); }

  // To be called after each turn of the loop. True: there is a slice more, so do not sleep. Costs a branch or two until
  // the time has come.
  bool turn();

 private:
  LettingGo(EventLoop& loop, Fd timer, std::vector<std::span<uint8_t>> memory, uint64_t delay_ns)
      : loop_(loop), timer_(std::move(timer)), memory_(std::move(memory)), delay_ns_(delay_ns) {}
  bool let_go_of_slice();

  EventLoop& loop_;
  Fd timer_;  // not one of the loop's: a deadline there makes each of its sleeps set a timer
  std::vector<std::span<uint8_t>> memory_;
  uint64_t delay_ns_;
  enum class State { kIdle, kWaiting, kLettingGo } state_ = State::kIdle;
  size_t range_ = 0;  // kLettingGo: the next slice
  uint64_t offset_ = 0;
};

}  // namespace xenopolis
