// Where the hypervisor's part of a 64-bit PV guest's address space lies (kvm backend), and the I/O ports of the calls.
#pragma once

#include "xen_abi/xen.h"

namespace xenopolis::pv_layout {

// The L4 slots that belong to the hypervisor in every PV guest (<xen/arch-x86/xen-x86_64.h>).
inline constexpr uint64_t kReservedStart = __HYPERVISOR_VIRT_START;
inline constexpr uint64_t kReservedEnd = __HYPERVISOR_VIRT_END;
inline constexpr unsigned kFirstReservedSlot = 256;
inline constexpr unsigned kReservedSlots = 16;
inline constexpr uint64_t kSlotSize = 1ull << 39;
static_assert(kReservedEnd - kReservedStart == kReservedSlots * kSlotSize);
static_assert((kReservedStart >> 39 & 511) == kFirstReservedSlot);

inline bool is_reserved(uint64_t address) {
  return address >= kReservedStart && address < kReservedEnd;
}

// Slot 256: for the hypervisor only. Slot 257: readable by the guest: one page of entry code, then the
// machine-to-physical table. Xen has that table at the start of slot 256, but some KVMs cannot let ring 3 in there;
// guests learn the address from XENMEM_machphys_mapping.
inline constexpr uint64_t kSupervisorBase = kReservedStart;
inline constexpr uint64_t kGuestVisibleBase = kReservedStart + kSlotSize;
inline constexpr uint64_t kSyscallEntry = kGuestVisibleBase;
inline constexpr uint64_t kM2pStart = kGuestVisibleBase + kPageSize;

// For XENMEM_machphys_mapping: [start, end) of the table, one word for each of `ram_pages` frames, and the last frame.
inline constexpr uint64_t m2p_end(uint64_t ram_pages) {
  return kM2pStart + (ram_pages * sizeof(uint64_t) + kPageSize - 1) / kPageSize * kPageSize;
}
inline constexpr uint64_t max_mfn(uint64_t ram_pages) {
  return ram_pages - 1;
}

// OUT to these ports leaves the virtual machine. Ours: no guest needs to know them.
inline constexpr uint8_t kHypercallPort = 0xe0;       // in the hypercall page
inline constexpr uint8_t kPatchedSyscallPort = 0xe1;  // in place of a guest kernel's own SYSCALL instruction
inline constexpr uint8_t kSyscallEntryPort = 0xe2;    // where SYSCALL instructions lead

}  // namespace xenopolis::pv_layout
