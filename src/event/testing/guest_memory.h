// A guest's RAM in the tests against the model: where an honest kernel keeps what it shares with the hypervisor, and
// what a hostile one writes there.
#pragma once

#include <algorithm>
#include <cstring>

#include "event/fifo.h"
#include "event/three_level.h"
#include "machine/domain_memory.h"

namespace xenopolis::event::model {

// Frame numbers. shared_info lies behind the RAM.
inline constexpr Gfn kControlGfn = 1, kArrayGfn = 2, kInfoGfn = 6, kPendingGfn = 7,
                     kMaskGfn = kPendingGfn + kBitmapFrames;
inline constexpr Gfn kRamPages = kMaskGfn + kBitmapFrames;
inline constexpr uint32_t kArrayPages = kInfoGfn - kArrayGfn;
inline constexpr uint32_t kControlStride = 512;  // a control block, or a selector, of each vCPU

class GuestMemory {
 public:
  explicit GuestMemory(DomId domid) : memory_(machine::memory_of(domid)) {}

  uint8_t* page(Gfn gfn) const { return memory_.page(gfn); }
  template <class T>
  T* at(Gfn gfn, size_t offset = 0) const {
    return reinterpret_cast<T*>(page(gfn) + offset);
  }
  shared_info* shared() const { return at<shared_info>(kRamPages); }
  event_word_t& event_word(Port port) const {
    return at<event_word_t>(kArrayGfn + port / kEventWordsPerPage % kArrayPages)[port % kEventWordsPerPage];
  }
  evtchn_fifo_control_block& control(VcpuId vcpu) const {
    return *at<evtchn_fifo_control_block>(kControlGfn, vcpu * kControlStride);
  }
  xen_ulong_t* selector(VcpuId vcpu) const { return at<xen_ulong_t>(kControlGfn, vcpu * kControlStride); }
  vcpu_info& info(VcpuId vcpu) const { return at<vcpu_info>(kInfoGfn)[vcpu]; }

  // All RAM, and shared_info.
  void wipe() const { std::memset(page(0), 0, (kRamPages + 1) * kPageSize); }
  // What a new kernel does on behalf of event channels after it has reset them. That none is pending it takes for
  // granted.
  void clean() const {
    std::memset(page(kControlGfn), 0, (kPendingGfn - kControlGfn) * kPageSize);
    std::memset(shared()->evtchn_mask, 0, sizeof shared()->evtchn_mask);
    std::memset(shared()->vcpu_info, 0, sizeof shared()->vcpu_info);
  }

 private:
  machine::DomainMemory& memory_;
};

// Garbage, shaped such that it hits something: `kind` says where, `ports` are those it would like to confuse.
inline void write_garbage(const GuestMemory& memory, uint8_t kind, Port port, Port other, uint8_t value) {
  const auto store = [](auto& word, auto bits) {
    std::atomic_ref(word).store(static_cast<std::decay_t<decltype(word)>>(bits));
  };
  const VcpuId vcpu = value % kMaxVcpus;
  const uint64_t pattern = value % 3 == 0 ? ~0ull : value * 0x0101'0101'0101'0101ull;
  const uint32_t word = port / kBitsPerWord;
  // Words, and the page of the bitmap, that hold the port's bit.
  const uint64_t in_frame = word % (kPageSize / sizeof(xen_ulong_t));
  const Gfn frame = port / (kPageSize * 8) % kBitmapFrames;
  switch (kind % 12) {
    case 0:
    case 1:  // flags and a link to another port, itself included
      return store(memory.event_word(port), uint32_t{value} << 28 | other);
    case 2:  // a link to far away
      return store(memory.event_word(port), uint32_t{value} << 28 | (other * 0x1'0001u & kLinkMask));
    case 3:
      return store(memory.control(vcpu).head[value % kPriorities], value < 128 ? other : ~other);
    case 4:
      return store(memory.control(vcpu).ready, pattern);
    case 5:
      return store(memory.shared()->evtchn_pending[word % kBitsPerWord], pattern);
    case 6:
      return store(memory.shared()->evtchn_mask[word % kBitsPerWord], pattern);
    case 7:
      return store(memory.at<xen_ulong_t>(kPendingGfn + frame)[in_frame], pattern);
    case 8:
      return store(memory.at<xen_ulong_t>(kMaskGfn + frame)[in_frame], pattern);
    case 9:
      return store(memory.selector(vcpu)[value % kSelectorWords], pattern);
    case 10: {
      vcpu_info& info = value % 2 == 0 ? memory.info(vcpu) : memory.shared()->vcpu_info[vcpu];
      store(info.evtchn_upcall_pending, value);
      return store(info.evtchn_pending_sel, pattern);
    }
    default:
      std::memset(memory.page(port % (kRamPages + 1)), value, kPageSize);
  }
}

}  // namespace xenopolis::event::model
