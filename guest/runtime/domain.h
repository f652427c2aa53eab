// What a guest knows about itself: its start_info, where its frames are, and its vcpu_info.
#pragma once

#include "runtime/multicall.h"
#include "runtime/text.h"

namespace xenopolis::guest {

extern "C" {
// The lowest address of the image: guest frame 0. Linked at VIRT_BASE, found RIP-relative wherever it runs.
[[gnu::visibility("hidden")]] extern char image_base[];
[[gnu::visibility("hidden")]] extern uint64_t entry_tsc;
// The guest's own vcpu_info once VCPUOP_register_vcpu_info has moved it out of shared_info. It has a fixed place in the
// image, so that the upcall's return path can unmask without a register (upcall.S).
[[gnu::visibility("hidden")]] extern vcpu_info_t this_vcpu;
}

// Constant after domain::finish().
struct Domain {
  const start_info_t* info;
  uint32_t features;     // XENFEAT_* of submap 0
  bool vcpu_info_moved;  // else upcalls and time are in shared_info
  char* spare_pages;
};
extern Domain domain_self;

namespace domain {

// Adds what every guest asks at its start; the batch's owner runs it and calls finish() with it.
void prepare(Multicall& batch, const start_info_t* info);
void finish(const Multicall& batch);

// Every guest frame is mapped at base + gfn * 4096, in both backends: on kvm by the builder's initial page tables,
// hosted because the domain's memory is one run of the host's. Frame numbers are the domain's own: MFN == PFN.
inline uint64_t gfn_of(const void* address) {
  return (reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(image_base)) >> kPageShift;
}

template <class T>
T* at_gfn(uint64_t gfn) {
  return reinterpret_cast<T*>(image_base + (gfn << kPageShift));
}

inline bool has_feature(unsigned feature) {
  return (domain_self.features >> feature & 1) != 0;
}

// Without page tables of its own: virtual addresses are base + machine address, and nothing needs mapping.
inline bool auto_translated() {
  return has_feature(XENFEAT_auto_translated_physmap);
}

// Makes a frame that the hypervisor owns visible: at `page`, a page of the image that is given up for it, or where it
// stands already. nullptr if the hypervisor refuses.
void* map_foreign(uint64_t gfn, void* page);

// Page-table entry of this guest: present, writable, user (CPL 3), accessed and dirty.
inline constexpr uint64_t kReadWritePage = 0x67;
inline constexpr uint64_t kReadOnlyPage = 0x65;

// Page `index` of those that the builder leaves free behind the bootstrap stack: mapped, at least 128 of them
// (<xen/xen.h>, "at least 512kB of padding"), unless the RAM ends before: nullptr.
void* spare_page(unsigned index);

// shared_info, mapped at the first call.
shared_info_t& shared_info();

// Where upcall mask, pending flag and time are.
vcpu_info_t& vcpu();

inline Text command_line() {
  return text_in(reinterpret_cast<const char*>(domain_self.info->cmd_line), MAX_GUEST_CMDLINE);
}

}  // namespace domain
}  // namespace xenopolis::guest
