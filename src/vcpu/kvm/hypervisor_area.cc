#include "vcpu/kvm/hypervisor_area.h"

#include <fmt/format.h>

#include <cstring>

namespace xenopolis::vcpu::kvm {
namespace {

constexpr uint64_t kGiBShift = 30, kLargePageShift = 21;

constexpr uint64_t ceil_div(uint64_t dividend, uint64_t divisor) {
  return (dividend + divisor - 1) / divisor;
}

// Flat segment descriptors, accessed: the limit's and base's bits are fixed, `access` and `flags` are the SDM's.
constexpr uint64_t flat_descriptor(uint64_t access, uint64_t flags) {
  return 0x000f'0000'0000'ffff | access << 40 | flags << 52;
}
constexpr uint64_t kCodeRing0 = flat_descriptor(0x9b, 0xa), kDataRing0 = flat_descriptor(0x93, 0xc);
constexpr uint64_t kCode32Ring3 = flat_descriptor(0xfb, 0xc), kDataRing3 = flat_descriptor(0xf3, 0xc);
constexpr uint64_t kCode64Ring3 = flat_descriptor(0xfb, 0xa);

constexpr uint64_t kInterruptGate = 0x8e, kRing3 = 0x60;

// 64-bit TSS: RSP0 and the offset of the I/O bitmap (Intel SDM volume 3, 8.7).
constexpr uint64_t kTssRsp0 = 4, kTssBitmapOffset = 102, kTssBitmap = 104;

// next: lodsq; mov (%rax),%rbx; mov %rbx,(%rax); dec %ecx; jnz next; mov %cr3,%rax; mov %rax,%cr3; out
constexpr uint8_t kUpdateStub[] = {0x48, 0xad, 0x48, 0x8b, 0x18, 0x48, 0x89, 0x18, 0xff, 0xc9,
                                   0x75, 0xf4, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0xe6, kStubDonePort};
constexpr uint64_t kOutSize = 2;

}  // namespace

Result<HypervisorArea> HypervisorArea::create(const machine::DomainMemory& memory) {
  const domain::MemoryLayout layout{memory.ram_pages};
  if (memory.ram_pages == 0 || memory.extent.pages < layout.total_pages()) {
    return fail(EINVAL, fmt::format("a domain of {} pages needs {} with its hypervisor area, has {}", memory.ram_pages,
                                    layout.total_pages(), memory.extent.pages));
  }
  const uint64_t direct_tables = ceil_div(layout.total_pages() << kPageShift, 1ull << kGiBShift);
  const uint64_t m2p_tables = ceil_div(layout.m2p_pages() + 1, kEntriesPerTable);
  if (kFirstTable + direct_tables + m2p_tables > domain::kBackendPages) {
    return fail(E2BIG, fmt::format("a domain of {} MiB: the kvm backend takes at most 13 GiB", memory.ram_pages >> 8));
  }
  return HypervisorArea(memory, direct_tables, m2p_tables);
}

void HypervisorArea::fill() const {
  fill_supervisor_tables();
  fill_guest_visible_tables();
  fill_m2p();
  fill_descriptors();
  fill_stubs();
}

void HypervisorArea::fill_supervisor_tables() const {
  const uint64_t large_pages = ceil_div(layout_.total_pages() << kPageShift, 1ull << kLargePageShift);
  for (uint64_t i = 0; i < direct_tables_; ++i) {
    words(kSupervisorL3)[i] = page_gpa(kFirstTable + i) | kTableFlags;
  }
  for (uint64_t i = 0; i < large_pages; ++i) {
    words(kFirstTable + i / kEntriesPerTable)[i % kEntriesPerTable] = i << kLargePageShift | kPteLarge | kTableFlags;
  }
  words(kSupervisorL3)[index_of(kGdtWindow, 3)] = page_gpa(kGdtL2) | kTableFlags;
  words(kGdtL2)[0] = page_gpa(kGdtL1) | kTableFlags;
  for (unsigned i = 0; i < FIRST_RESERVED_GDT_PAGE; ++i) words(kGdtL1)[i] = empty_gdt_entry();
  words(kGdtL1)[FIRST_RESERVED_GDT_PAGE] = page_gpa(kControl) | kTableFlags;
}

void HypervisorArea::fill_guest_visible_tables() const {
  const uint64_t first = kFirstTable + direct_tables_;
  words(kGuestVisibleL3)[0] = page_gpa(kGuestVisibleL2) | kTableFlags | kPteUser;
  for (uint64_t i = 0; i < m2p_tables_; ++i) {
    words(kGuestVisibleL2)[i] = page_gpa(first + i) | kTableFlags | kPteUser;
  }
  constexpr uint64_t kReadOnly = kPtePresent | kPteUser | kPteAccessed;
  words(first)[0] = page_gpa(kSyscallPage) | kReadOnly;
  for (uint64_t i = 0; i < layout_.m2p_pages(); ++i) {
    const uint64_t index = (pv_layout::kM2pStart - pv_layout::kGuestVisibleBase) / kPageSize + i;
    words(first + index / kEntriesPerTable)[index % kEntriesPerTable] =
        (layout_.m2p() + i) << kPageShift | kReadOnly | kPteNoExecute;
  }
}

void HypervisorArea::fill_m2p() const {
  auto* m2p = reinterpret_cast<uint64_t*>(memory_->page(layout_.m2p()));
  for (uint64_t mfn = 0; mfn < layout_.ram_pages; ++mfn) m2p[mfn] = mfn;
}

void HypervisorArea::fill_descriptors() const {
  uint8_t* control = bytes(kControl);
  auto* gdt = reinterpret_cast<uint64_t*>(control);
  const auto set = [&](uint16_t selector, uint64_t value) {
    gdt[(selector - FIRST_RESERVED_GDT_BYTE) / sizeof(uint64_t)] = value;
  };
  set(kSupervisorCs, kCodeRing0);
  set(kSupervisorSs, kDataRing0);
  set(FLAT_RING3_CS32 & ~3, kCode32Ring3);
  set(FLAT_RING3_SS64 & ~3, kDataRing3);
  set(FLAT_RING3_CS64 & ~3, kCode64Ring3);
  constexpr uint64_t kAvailableTss = 0x89;
  const uint64_t base = tss_base();
  set(kTssSelector, tss_limit() | (base & 0xffffff) << 16 | kAvailableTss << 40 | (base >> 24 & 0xff) << 56);
  set(kTssSelector + 8, base >> 32);

  uint8_t* tss = control + kTssOffset;
  const uint64_t rsp0 = stack_top();
  memcpy(tss + kTssRsp0, &rsp0, sizeof rsp0);
  tss[kTssBitmapOffset] = kTssBitmap;
  // A set bit forbids a port.
  memset(tss + kTssBitmap, 0xff, kTssSize - kTssBitmap);
  for (uint8_t port : {pv_layout::kHypercallPort, pv_layout::kPatchedSyscallPort, pv_layout::kSyscallEntryPort}) {
    tss[kTssBitmap + port / 8] &= static_cast<uint8_t>(~(1u << (port % 8)));
  }

  auto* idt = reinterpret_cast<uint64_t*>(control + kIdtOffset);
  for (unsigned vector = 0; vector < kExceptionVectors; ++vector) {
    const uint64_t stub = control_address() + kVectorStubsOffset + vector * kVectorStubSize;
    // `int n` for the others is a #GP or #UD, from which the vector is found; so nobody can fake a fault with it.
    const bool from_ring3 = vector == kVectorBreakpoint || vector == kVectorOverflow;
    const uint64_t access = kInterruptGate | (from_ring3 ? kRing3 : 0);
    idt[2 * vector] = (stub & 0xffff) | uint64_t{kSupervisorCs} << 16 | access << 40 | (stub & 0xffff0000) << 32;
    idt[2 * vector + 1] = stub >> 32;
  }
}

void HypervisorArea::fill_stubs() const {
  uint8_t* control = bytes(kControl);
  memcpy(control + kUpdateStubOffset, kUpdateStub, sizeof kUpdateStub);
  for (unsigned vector = 0; vector < kExceptionVectors; ++vector) {
    // out %al,$vector; jmp to it. Ring 0 needs no bitmap.
    const uint8_t stub[kVectorStubSize] = {0xe6, static_cast<uint8_t>(vector), 0xeb, 0xfc};
    memcpy(control + kVectorStubsOffset + vector * kVectorStubSize, stub, sizeof stub);
  }
  const uint8_t syscall_entry[] = {0xe6, pv_layout::kSyscallEntryPort, 0xeb, 0xfc};
  memcpy(bytes(kSyscallPage), syscall_entry, sizeof syscall_entry);
}

std::span<uint64_t, HypervisorArea::kQueueLength> HypervisorArea::queue() const {
  return std::span<uint64_t, kQueueLength>(words(kQueuePage), kQueueLength);
}

// KVM leaves RIP at the OUT or behind it, depending on how it decoded the instruction.
bool HypervisorArea::is_end_of_update_stub(uint64_t rip) const {
  const uint64_t end = update_stub() + sizeof kUpdateStub;
  return rip == end || rip == end - kOutSize;
}

std::optional<unsigned> HypervisorArea::exception_at(uint64_t rip) const {
  const uint64_t offset = rip - (control_address() + kVectorStubsOffset);
  if (offset >= kExceptionVectors * kVectorStubSize || offset % kOutSize != 0) return std::nullopt;
  return static_cast<unsigned>(offset / kVectorStubSize);
}

std::optional<ExceptionFrame> HypervisorArea::exception_frame(unsigned vector, uint64_t rsp) const {
  uint64_t words_pushed = pushes_error_code(vector) ? 6 : 5;
  if (rsp != stack_top() - words_pushed * sizeof(uint64_t)) return std::nullopt;
  uint64_t words[6];
  memcpy(words, bytes(kControl) + kPageSize - words_pushed * sizeof(uint64_t), words_pushed * sizeof(uint64_t));
  ExceptionFrame frame;
  const uint64_t* next = words;
  if (pushes_error_code(vector)) frame.error_code = *next++;
  frame.rip = *next++;
  frame.cs = *next++;
  frame.rflags = *next++;
  frame.rsp = *next++;
  frame.ss = *next;
  return frame;
}

}  // namespace xenopolis::vcpu::kvm
