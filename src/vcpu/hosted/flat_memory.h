// A hosted guest's memory: its virtual addresses are the addresses of its extent in the machine.
#pragma once

#include <cstring>

#include "hypercall/hypercall.h"
#include "machine/frames.h"

namespace xenopolis::vcpu::hosted {

class FlatMemory final : public hypercall::GuestMemory {
 public:
  // RAM and hypervisor area: both are the guest's to name, as they are with page tables.
  explicit FlatMemory(const machine::Extent& extent) : extent_(extent) {}

  bool copy_in(uint64_t guest_address, void* to, size_t size) override {
    if (!contains(guest_address, size)) return false;
    std::memcpy(to, reinterpret_cast<const void*>(guest_address), size);
    return true;
  }
  bool copy_out(uint64_t guest_address, const void* from, size_t size) override {
    if (!contains(guest_address, size)) return false;
    std::memcpy(reinterpret_cast<void*>(guest_address), from, size);
    return true;
  }

  bool contains(uint64_t address, size_t size) const {
    const auto begin = reinterpret_cast<uint64_t>(extent_.begin());
    return address >= begin && size <= extent_.size() && address - begin <= extent_.size() - size;
  }

 private:
  machine::Extent extent_;
};

}  // namespace xenopolis::vcpu::hosted
