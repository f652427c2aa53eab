// When which vCPU wants to be looked at: at most one deadline per slot.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/check.h"
#include "machine/layout.h"

namespace xenopolis::vcpu {

// A binary heap that knows where each slot stands in it. All operations are O(log kVcpusPerDoorbell) at most.
class DeadlineHeap {
 public:
  struct Entry {
    uint64_t deadline_ns;
    uint32_t slot;
  };

  DeadlineHeap() { position_.fill(kAbsent); }

  bool empty() const { return size_ == 0; }
  // The earliest. Must not be empty.
  const Entry& first() const {
    CHECK(size_ > 0);
    return entries_[0];
  }

  // nullopt: none any more.
  void set(uint32_t slot, std::optional<uint64_t> deadline_ns) {
    CHECK(slot < kSlots);
    uint32_t at = position_[slot];
    if (!deadline_ns) {
      if (at != kAbsent) remove(at);
      return;
    }
    if (at == kAbsent) {
      at = size_++;
    } else if (entries_[at].deadline_ns == *deadline_ns) {
      return;
    }
    place(at, {*deadline_ns, slot});
    settle(at);
  }

 private:
  static constexpr uint32_t kSlots = machine::kVcpusPerDoorbell;
  static constexpr uint32_t kAbsent = ~0u;

  void place(uint32_t at, const Entry& entry) {
    entries_[at] = entry;
    position_[entry.slot] = at;
  }

  void remove(uint32_t at) {
    position_[entries_[at].slot] = kAbsent;
    --size_;
    if (at == size_) return;
    place(at, entries_[size_]);
    settle(at);
  }

  // The entry at `at` may be out of order with its parent or its children, not both.
  void settle(uint32_t at) {
    const Entry entry = entries_[at];
    while (at > 0 && entry.deadline_ns < entries_[(at - 1) / 2].deadline_ns) {
      place(at, entries_[(at - 1) / 2]);
      at = (at - 1) / 2;
    }
    for (;;) {
      uint32_t child = 2 * at + 1;
      if (child >= size_) break;
      if (child + 1 < size_ && entries_[child + 1].deadline_ns < entries_[child].deadline_ns) ++child;
      if (entry.deadline_ns <= entries_[child].deadline_ns) break;
      place(at, entries_[child]);
      at = child;
    }
    place(at, entry);
  }

  std::array<Entry, kSlots> entries_;
  std::array<uint32_t, kSlots> position_;
  uint32_t size_ = 0;
};

}  // namespace xenopolis::vcpu
