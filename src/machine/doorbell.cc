#include "machine/doorbell.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>

#include "base/clock.h"
#include "machine/statistics.h"

namespace xenopolis::machine {
namespace {

void futex_wake(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

// Absolute CLOCK_MONOTONIC deadline; returns on wake-up, deadline, signal, or when the word is not `expected`.
void futex_wait(std::atomic<uint32_t>& word, uint32_t expected, std::optional<uint64_t> deadline_ns) {
  timespec deadline{};
  if (deadline_ns) {
    deadline.tv_sec = static_cast<time_t>(*deadline_ns / 1'000'000'000u);
    deadline.tv_nsec = static_cast<long>(*deadline_ns % 1'000'000'000u);
  }
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected, deadline_ns ? &deadline : nullptr, nullptr,
          FUTEX_BITSET_MATCH_ANY);
}

bool is_dom0(DoorbellId id) {
  return id >= kCellCount;
}

}  // namespace

Doorbells::Doorbells(std::span<const int> dom0_eventfds) : dom0_eventfds_(dom0_eventfds) {}

int Doorbells::kick_signal() {
  return SIGURG;
}

void Doorbells::wake(DoorbellId id, bool kick) {
  Doorbell& bell = doorbell(id);
  if (is_dom0(id)) {
    const uint64_t one = 1;
    const VcpuId vcpu = id - kCellCount;
    // EAGAIN (a full counter) is as good as a write: the eventfd is readable.
    if (vcpu < dom0_eventfds_.size()) [[maybe_unused]]
      const ssize_t written = write(dom0_eventfds_[vcpu], &one, sizeof one);
    return;
  }
  if (bell.sleeping.load() != 0 && bell.sleeping.exchange(0) != 0) {
    bell.rung_ns.store(MonotonicClock().now_ns(), std::memory_order_relaxed);
    futex_wake(bell.sleeping);
  } else if (kick) {
    const pid_t pid = bell.pid.load();
    const pid_t tid = bell.tid.load();
    if (pid != 0) syscall(SYS_tgkill, pid, tid, kick_signal());
  }
}

void Doorbells::ring(DoorbellId id, unsigned bit) {
  Doorbell& bell = doorbell(id);
  const uint64_t mask = 1ull << bit;
  // Sequentially consistent against enter_guest(): either it sees the mark, or this sees `running`.
  const bool was_marked = (bell.wake.fetch_or(mask) & mask) != 0;
  if (is_dom0(id) && was_marked) return;  // whoever set the mark also writes the eventfd
  wake(id, bell.running.load() == static_cast<int32_t>(bit));
}

void Doorbells::ring_attention(DoorbellId id) {
  Doorbell& bell = doorbell(id);
  bell.attention.store(1);
  wake(id, bell.running.load() >= 0);
}

void Doorbells::poke_all() {
  for (DoorbellId id = 0; id < kDoorbellCount; ++id) {
    if (doorbell(id).pid.load() == 0) continue;
    if (is_dom0(id)) {
      wake(id, false);
    } else {
      doorbell(id).sleeping.store(0);
      futex_wake(doorbell(id).sleeping);
      wake(id, true);
    }
  }
}

void Doorbells::adopt(DoorbellId id) {
  Doorbell& bell = doorbell(id);
  bell.running.store(-1);
  bell.sleeping.store(0);
  bell.tid.store(static_cast<int32_t>(syscall(SYS_gettid)));
  bell.pid.store(getpid());
}

void Doorbells::abandon(DoorbellId id) {
  doorbell(id).pid.store(0);
}

uint64_t Doorbells::take(DoorbellId id) {
  Doorbell& bell = doorbell(id);
  return bell.wake.load() == 0 ? 0 : bell.wake.exchange(0);
}

bool Doorbells::take_attention(DoorbellId id) {
  Doorbell& bell = doorbell(id);
  return bell.attention.load() != 0 && bell.attention.exchange(0) != 0;
}

bool Doorbells::has_marks(DoorbellId id) const {
  const Doorbell& bell = doorbell(id);
  return bell.wake.load() != 0 || bell.attention.load() != 0;
}

void Doorbells::sleep(DoorbellId id, std::optional<uint64_t> deadline_ns) {
  Doorbell& bell = doorbell(id);
  bell.rung_ns.store(0, std::memory_order_relaxed);
  bell.sleeping.store(1);
  // A mark set before this look is seen here; one set after it finds sleeping == 1 and wakes.
  if (!has_marks(id)) futex_wait(bell.sleeping, 1, deadline_ns);
  bell.sleeping.store(0);
  const uint64_t rung_ns = bell.rung_ns.load(std::memory_order_relaxed);
  if (my_statistics == nullptr || rung_ns == 0) return;
  const uint64_t now_ns = MonotonicClock().now_ns();
  if (now_ns > rung_ns) my_statistics->wake.add(now_ns - rung_ns);
}

bool Doorbells::enter_guest(DoorbellId id, unsigned bit) {
  Doorbell& bell = doorbell(id);
  bell.running.store(static_cast<int32_t>(bit));
  if ((bell.wake.load() & (1ull << bit)) == 0 && bell.attention.load() == 0) return true;
  bell.running.store(-1);
  return false;
}

void Doorbells::leave_guest(DoorbellId id) {
  doorbell(id).running.store(-1);
}

}  // namespace xenopolis::machine
