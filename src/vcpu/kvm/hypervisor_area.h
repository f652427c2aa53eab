// The vCPU backend's pages behind a domain's RAM: descriptor tables, stubs, and the page tables of Xen's L4 slots.
//
//   page  0  L3 of slot 256 (supervisor)    entries 0..: all of the extent, as 2 MiB pages; 511: the GDT window
//         1  L2 of the GDT window
//         2  L1 of the GDT window           14 frames of the guest's choice, then the control page
//         3  L3 of slot 257 (guest-visible)
//         4  L2 of slot 257
//         5  control page                   reserved GDT entries, IDT, TSS, stubs, exception stack
//         6  syscall entry                  the one page of ours that the guest may execute
//         7  zeros, for GDT frames that the guest has not set
//         8  queue                          kQueuePages: entries that the update stub is to write again
//        12  L2 tables of the extent, one per GiB; then L1 tables of slot 257, one per GiB of RAM
//
// The guest owns its page tables, so it can map and overwrite all of this. It then breaks itself: nothing is read back
// but the exception frame, which is checked, and the virtual machine keeps it inside its own memory.
#pragma once

#include <array>
#include <optional>
#include <span>

#include "base/result.h"
#include "domain/memory_layout.h"
#include "machine/domain_memory.h"
#include "vcpu/kvm/cpu_bits.h"
#include "xen_abi/pv_layout.h"

namespace xenopolis::vcpu::kvm {

// The hypervisor's own selectors, in the GDT page that Xen reserves; the flat ones for guests are Xen's FLAT_RING3_*.
inline constexpr uint16_t kSupervisorCs = FIRST_RESERVED_GDT_BYTE + 0x08;
inline constexpr uint16_t kSupervisorSs = FIRST_RESERVED_GDT_BYTE + 0x10;
inline constexpr uint16_t kTssSelector = FIRST_RESERVED_GDT_BYTE + 0x40;

inline constexpr uint8_t kStubDonePort = 0xe3;  // OUT at the end of the update stub

// What an exception leaves on the exception stack.
struct ExceptionFrame {
  uint64_t error_code = 0;  // 0 for vectors without one
  uint64_t rip, cs, rflags, rsp, ss;
};

class HypervisorArea {
 public:
  static constexpr uint64_t kQueuePages = 4;
  static constexpr size_t kQueueLength = kQueuePages * kPageSize / sizeof(uint64_t);

  // E2BIG when the domain is larger than kBackendPages can describe (13 GiB). Does not touch memory.
  static Result<HypervisorArea> create(const machine::DomainMemory& memory);

  // Writes all of it, and the machine-to-physical table (identity). The pages must read as zero before.
  void fill() const;

  // Addresses for the CPU, in slot 256.
  static uint64_t direct_address(uint64_t gpa) { return pv_layout::kSupervisorBase + gpa; }
  static constexpr uint64_t gdt_base() { return kGdtWindow; }
  static constexpr uint64_t gdt_limit() { return FIRST_RESERVED_GDT_BYTE + 0xfff; }
  uint64_t idt_base() const { return control_address() + kIdtOffset; }
  static constexpr uint64_t idt_limit() { return kExceptionVectors * 16 - 1; }
  uint64_t tss_base() const { return control_address() + kTssOffset; }
  static constexpr uint64_t tss_limit() { return kTssSize - 1; }
  uint64_t stack_top() const { return control_address() + kPageSize; }

  // Writes the entries in queue()[0, count) again from inside the virtual machine (RSI = queue, ECX = count), so that a
  // KVM with shadow page tables notices, and reloads CR3.
  uint64_t update_stub() const { return control_address() + kUpdateStubOffset; }
  bool is_end_of_update_stub(uint64_t rip) const;
  uint64_t queue_address() const { return direct_address(page_gpa(kQueuePage)); }
  // Of direct_address()es of page-table entries.
  std::span<uint64_t, kQueueLength> queue() const;

  // The vector whose stub has just done its OUT, or nothing if `rip` is not there.
  std::optional<unsigned> exception_at(uint64_t rip) const;
  // The frame of the first exception on the empty stack, or nothing if `rsp` says that it was not the first.
  std::optional<ExceptionFrame> exception_frame(unsigned vector, uint64_t rsp) const;

  // Entries 256 and 257 of every L4 table in use.
  uint64_t supervisor_slot() const { return page_gpa(kSupervisorL3) | kTableFlags; }
  uint64_t guest_visible_slot() const { return page_gpa(kGuestVisibleL3) | kTableFlags | kPteUser; }

  // For set_gdt: guest-physical address of the window's entry for GDT page `index` < FIRST_RESERVED_GDT_PAGE, and its
  // value.
  uint64_t gdt_entry_gpa(unsigned index) const { return page_gpa(kGdtL1) + index * sizeof(uint64_t); }
  uint64_t gdt_entry(Gfn frame) const { return (frame << kPageShift) | kTableFlags; }
  uint64_t empty_gdt_entry() const { return page_gpa(kZeroPage) | kPtePresent | kPteAccessed; }

  const domain::MemoryLayout& layout() const { return layout_; }

 private:
  enum Page : uint64_t {
    kSupervisorL3,
    kGdtL2,
    kGdtL1,
    kGuestVisibleL3,
    kGuestVisibleL2,
    kControl,
    kSyscallPage,
    kZeroPage,
    kQueuePage,
    kFirstTable = kQueuePage + kQueuePages,
  };
  static constexpr uint64_t kTableFlags = kPtePresent | kPteWritable | kPteAccessed | kPteDirty;
  static constexpr uint64_t kGdtWindow = pv_layout::kSupervisorBase + (511ull << 30);

  // In the control page. The reserved GDT entries are at 0.
  static constexpr uint64_t kUpdateStubOffset = 0x080, kIdtOffset = 0x100, kTssOffset = 0x300,
                            kVectorStubsOffset = 0x400;
  static constexpr uint64_t kVectorStubSize = 4;
  // 104 bytes, the I/O bitmap for ports 0 to 255, and the byte behind it that the CPU may read too.
  static constexpr uint64_t kTssSize = 104 + 256 / 8 + 1;

  HypervisorArea(const machine::DomainMemory& memory, uint64_t direct_tables, uint64_t m2p_tables)
      : memory_(&memory), layout_{memory.ram_pages}, direct_tables_(direct_tables), m2p_tables_(m2p_tables) {}

  Gfn page_gfn(uint64_t page) const { return layout_.backend() + page; }
  uint64_t page_gpa(uint64_t page) const { return page_gfn(page) << kPageShift; }
  uint8_t* bytes(uint64_t page) const { return memory_->page(page_gfn(page)); }
  uint64_t* words(uint64_t page) const { return reinterpret_cast<uint64_t*>(bytes(page)); }
  uint64_t control_address() const { return direct_address(page_gpa(kControl)); }

  void fill_supervisor_tables() const;
  void fill_guest_visible_tables() const;
  void fill_m2p() const;
  void fill_descriptors() const;
  void fill_stubs() const;

  const machine::DomainMemory* memory_;  // of the machine, outlives the vCPU
  domain::MemoryLayout layout_;
  uint64_t direct_tables_;
  uint64_t m2p_tables_;
};

}  // namespace xenopolis::vcpu::kvm
