#include "vcpu/kvm/page_tables.h"

#include <algorithm>

namespace xenopolis::vcpu::kvm {
namespace {

constexpr uint64_t kRights = kPtePresent | kPteWritable | kPteUser;

uint64_t frame_of(uint64_t entry) {
  return (entry & kPteFrameMask) >> kPageShift;
}

// Whether KVM's copy of `before` may stay until the guest faults on it.
bool is_noticed_by_fault(uint64_t before, uint64_t after) {
  if ((before & kPtePresent) == 0) return true;
  constexpr uint64_t kSame = kPteFrameMask | kPteNoExecute | kPteLarge;
  return (after & kPtePresent) != 0 && ((before ^ after) & kSame) == 0 && (before & ~after & kRights) == 0;
}

bool is_reserved_slot(unsigned index) {
  return index >= pv_layout::kFirstReservedSlot && index < pv_layout::kFirstReservedSlot + pv_layout::kReservedSlots;
}

}  // namespace

PageTables::PageTables(const machine::DomainMemory& memory, const HypervisorArea& area, const PageWalker& walker,
                       Flusher& flusher)
    : memory_(memory), area_(area), walker_(walker), flusher_(flusher), levels_(memory.ram_pages) {}

void PageTables::store(uint64_t entry_address, uint64_t value) {
  uint64_t* where = walker_.entry(entry_address);
  const uint64_t before = *where;
  if (before == value) return;
  *where = value;
  if (is_noticed_by_fault(before, value)) return;
  if (queued_ == HypervisorArea::kQueueLength) {
    flusher_.run_update_stub(queued_);
    queued_ = 0;
  }
  area_.queue()[queued_++] = HypervisorArea::direct_address(entry_address);
}

XenStatus PageTables::write_entry(uint64_t entry_address, uint64_t value, bool preserve_accessed_dirty) {
  const Gfn table = entry_address >> kPageShift;
  if (entry_address % sizeof(uint64_t) != 0 || memory_.ram_page(table) == nullptr) return xen_fail(XenErrno::kInval);
  const int level = levels_[table];
  const unsigned index = static_cast<unsigned>(entry_address % kPageSize / sizeof(uint64_t));
  if (level == 4 && is_reserved_slot(index)) return xen_fail(XenErrno::kInval);
  if ((value & kPtePresent) != 0) {
    if (frame_of(value) >= memory_.extent.pages) return xen_fail(XenErrno::kInval);
    value |= kPteUser;
    if (preserve_accessed_dirty) value |= *walker_.entry(entry_address) & (kPteAccessed | kPteDirty);
    const bool has_table = level > 1 && (value & kPteLarge) == 0;
    if (has_table && !adopt(frame_of(value), level - 1)) return xen_fail(XenErrno::kInval);
    // Xen lets no guest map a page table writable: a frame that is mapped so is none any more.
    if (level <= 1 && (value & kPteWritable) != 0 && frame_of(value) < levels_.size()) levels_[frame_of(value)] = 0;
  }
  store(entry_address, value);
  return {};
}

XenStatus PageTables::update_va_mapping(uint64_t va, uint64_t value) {
  if (pv_layout::is_reserved(va)) return xen_fail(XenErrno::kInval);
  const auto entry_address = walker_.level1_entry(vcpu_->kernel_cr3, va);
  if (!entry_address) return xen_fail(XenErrno::kInval);
  return write_entry(*entry_address, value, false);
}

XenStatus PageTables::set_m2p(Gfn mfn, uint64_t pfn) {
  if (mfn >= memory_.ram_pages) return xen_fail(XenErrno::kInval);
  reinterpret_cast<uint64_t*>(memory_.page(area_.layout().m2p()))[mfn] = pfn;
  return {};
}

void PageTables::insert_slots(Gfn table) {
  const uint64_t first = (table << kPageShift) + pv_layout::kFirstReservedSlot * sizeof(uint64_t);
  store(first, area_.supervisor_slot());
  store(first + sizeof(uint64_t), area_.guest_visible_slot());
}

bool PageTables::adopt(Gfn table, int level) {
  auto* entries = reinterpret_cast<uint64_t*>(memory_.ram_page(table));
  if (entries == nullptr) return true;  // leads nowhere: a walk ends there
  if (level == 4) insert_slots(table);
  if (levels_[table] == level) return true;
  if (tables_left_ == 0) return false;
  --tables_left_;
  levels_[table] = static_cast<uint8_t>(level);
  for (unsigned i = 0; i < kEntriesPerTable; ++i) {
    if ((entries[i] & kPtePresent) == 0 || (level == 4 && is_reserved_slot(i))) continue;
    if ((entries[i] & kPteUser) == 0) entries[i] |= kPteUser;
    const bool has_table = level > 1 && (entries[i] & kPteLarge) == 0;
    if (has_table && !adopt(frame_of(entries[i]), level - 1)) return false;
  }
  return true;
}

void PageTables::release(Gfn table, int level) {
  const auto* entries = reinterpret_cast<const uint64_t*>(memory_.ram_page(table));
  if (entries == nullptr || levels_[table] != level || tables_left_ == 0) return;
  --tables_left_;
  levels_[table] = 0;
  if (level == 1) return;
  // The kernel's half of an L4 table is shared with the other ones.
  const unsigned count = level == 4 ? pv_layout::kFirstReservedSlot : kEntriesPerTable;
  for (unsigned i = 0; i < count; ++i) {
    if ((entries[i] & (kPtePresent | kPteLarge)) == kPtePresent) release(frame_of(entries[i]), level - 1);
  }
}

XenStatus PageTables::pin(Gfn table, int level) {
  if (level < 1 || level > 4 || memory_.ram_page(table) == nullptr) return xen_fail(XenErrno::kInval);
  if (!adopt(table, level)) return xen_fail(XenErrno::kInval);
  return {};
}

XenStatus PageTables::unpin(Gfn table) {
  if (memory_.ram_page(table) == nullptr) return xen_fail(XenErrno::kInval);
  if (levels_[table] != 0) release(table, levels_[table]);
  return {};
}

XenStatus PageTables::new_kernel_base(Gfn table) {
  TRY_VOID(pin(table, 4));
  vcpu_->kernel_cr3 = table << kPageShift;
  flush_wanted_ = true;
  return {};
}

XenStatus PageTables::new_user_base(Gfn table) {
  if (table != 0) TRY_VOID(pin(table, 4));
  vcpu_->user_cr3 = table << kPageShift;
  return {};
}

XenStatus PageTables::set_gdt(const Gfn* frames, uint32_t count) {
  if (count > FIRST_RESERVED_GDT_PAGE) return xen_fail(XenErrno::kInval);
  for (uint32_t i = 0; i < count; ++i) {
    if (memory_.ram_page(frames[i]) == nullptr) return xen_fail(XenErrno::kInval);
  }
  gdt_frames_.assign(frames, frames + count);
  for (unsigned i = 0; i < FIRST_RESERVED_GDT_PAGE; ++i) {
    store(area_.gdt_entry_gpa(i), i < count ? area_.gdt_entry(frames[i]) : area_.empty_gdt_entry());
  }
  flush_wanted_ = true;
  return {};
}

std::optional<Gfn> PageTables::gdt_frame(unsigned index) const {
  if (index >= gdt_frames_.size()) return std::nullopt;
  return gdt_frames_[index];
}

}  // namespace xenopolis::vcpu::kvm
