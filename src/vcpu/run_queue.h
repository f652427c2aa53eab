// Which vCPUs of a cell want to run, in the order in which they will.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/check.h"
#include "machine/layout.h"

namespace xenopolis::vcpu {

// Round robin over the slots of a cell: a doubly linked list through an array. Everything is O(1).
class RunQueue {
 public:
  RunQueue() {
    for (uint32_t slot = 0; slot <= kSlots; ++slot) next_[slot] = previous_[slot] = slot;
  }

  bool empty() const { return next_[kHead] == kHead; }
  bool contains(uint32_t slot) const { return next_[slot] != slot; }

  // At the end, unless it is queued already.
  void push(uint32_t slot) {
    CHECK(slot < kSlots);
    if (contains(slot)) return;
    previous_[slot] = previous_[kHead];
    next_[slot] = kHead;
    next_[previous_[slot]] = previous_[kHead] = slot;
  }

  // The first one, or nullopt.
  std::optional<uint32_t> pop() {
    if (empty()) return std::nullopt;
    const uint32_t slot = next_[kHead];
    remove(slot);
    return slot;
  }

  void remove(uint32_t slot) {
    CHECK(slot < kSlots);
    next_[previous_[slot]] = next_[slot];
    previous_[next_[slot]] = previous_[slot];
    next_[slot] = previous_[slot] = slot;
  }

 private:
  static constexpr uint32_t kSlots = machine::kVcpusPerDoorbell;
  static constexpr uint32_t kHead = kSlots;

  // A slot that is not queued points to itself.
  std::array<uint32_t, kSlots + 1> next_;
  std::array<uint32_t, kSlots + 1> previous_;
};

}  // namespace xenopolis::vcpu
