// How a thread that runs vCPUs learns that one of them has something to do.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

#include "machine/layout.h"

namespace xenopolis::machine {

// One runner thread's doorbell: a cell's (it sleeps on a futex), or a Dom0 vCPU's (it sleeps in epoll, on an eventfd).
// All fields are atomics; the protocol is Doorbells' below. Every store is idempotent: a sender that dies between any
// two of them has at most left out a wake-up, which poke_all() makes good.
struct Doorbell {
  std::atomic<uint64_t> wake;       // bit v: vCPU v of this runner has an event. Senders set, the runner takes.
  std::atomic<uint32_t> attention;  // the runner's control socket has a message
  std::atomic<uint32_t> sleeping;   // futex word: 1 while the runner sleeps or is about to
  std::atomic<int32_t> running;     // the vCPU bit that executes guest code just now, or -1
  std::atomic<int32_t> pid;         // of the runner, for the kick; 0: nobody
  std::atomic<int32_t> tid;
  std::atomic<uint64_t> rung_ns;  // when the runner that slept was woken last; for statistics
};

using DoorbellId = uint32_t;
inline constexpr DoorbellId dom0_doorbell(VcpuId vcpu) {
  return kCellCount + vcpu;
}

class Doorbells {
 public:
  // `dom0_eventfds[v]` wakes Dom0's vCPU v; owned by the caller.
  explicit Doorbells(std::span<const int> dom0_eventfds);

  // --- for senders: any thread of any trusted process

  // vCPU `bit` behind doorbell `id` has an event. Costs a fetch_or when the runner is awake anyway.
  void ring(DoorbellId id, unsigned bit);
  // The runner's control socket has a message.
  void ring_attention(DoorbellId id);
  // Wakes every runner for nothing: after the death of a process that may have died between mark and wake-up.
  void poke_all();

  // --- for the one runner behind `id`

  // Makes the calling thread the runner. kKickSignal must have a handler in this thread that ends guest execution.
  void adopt(DoorbellId id);
  void abandon(DoorbellId id);
  // Takes all marks.
  uint64_t take(DoorbellId id);
  bool take_attention(DoorbellId id);
  bool has_marks(DoorbellId id) const;
  // Cells only: sleeps until a mark, attention or `deadline_ns` (CLOCK_MONOTONIC). May return early.
  void sleep(DoorbellId id, std::optional<uint64_t> deadline_ns);
  // Around guest execution: false (and nothing to leave) when there is a mark for `bit` or attention by now.
  bool enter_guest(DoorbellId id, unsigned bit);
  void leave_guest(DoorbellId id);

  // What ends guest execution from outside. Its default action is to be ignored, so a stale tid harms nobody.
  static int kick_signal();

 private:
  void wake(DoorbellId id, bool kick);

  std::span<const int> dom0_eventfds_;
};

inline Doorbell& doorbell(DoorbellId id) {
  return table_element<Doorbell, kDoorbellOffset, kDoorbellStride>(id);
}

}  // namespace xenopolis::machine
