#include "vcpu/kvm/page_walker.h"

#include <algorithm>
#include <cstring>

#include "xen_abi/pv_layout.h"

namespace xenopolis::vcpu::kvm {
namespace {
constexpr int kLevels = 4;
constexpr uint64_t kPageMask = kPageSize - 1;
}  // namespace

uint64_t* PageWalker::entry(uint64_t entry_address) const {
  uint8_t* page = memory_.page(entry_address >> kPageShift);
  return page == nullptr ? nullptr : reinterpret_cast<uint64_t*>(page + (entry_address & kPageMask & ~7ull));
}

std::optional<Translation> PageWalker::translate(uint64_t cr3, uint64_t address) const {
  if (!is_canonical(address)) return std::nullopt;
  Translation result;
  uint64_t table = cr3 & kPteFrameMask;
  for (int level = kLevels; level >= 1; --level) {
    result.entry_address = table + index_of(address, level) * sizeof(uint64_t);
    const uint64_t* where = entry(result.entry_address);
    if (where == nullptr) return std::nullopt;
    const uint64_t value = *where;
    if ((value & kPtePresent) == 0) return std::nullopt;
    result.writable &= (value & kPteWritable) != 0;
    result.user &= (value & kPteUser) != 0;
    result.executable &= (value & kPteNoExecute) == 0;
    const uint64_t mask = (1ull << (12 + 9 * (level - 1))) - 1;
    if (level == 1 || (level < kLevels && (value & kPteLarge) != 0)) {
      result.gpa = (value & kPteFrameMask & ~mask) | (address & mask);
      return result;
    }
    table = value & kPteFrameMask;
  }
  return std::nullopt;
}

std::optional<uint64_t> PageWalker::level1_entry(uint64_t cr3, uint64_t address) const {
  if (!is_canonical(address)) return std::nullopt;
  uint64_t table = cr3 & kPteFrameMask;
  for (int level = kLevels; level > 1; --level) {
    const uint64_t* where = entry(table + index_of(address, level) * sizeof(uint64_t));
    if (where == nullptr || (*where & kPtePresent) == 0 || (*where & kPteLarge) != 0) return std::nullopt;
    table = *where & kPteFrameMask;
  }
  return table + index_of(address, 1) * sizeof(uint64_t);
}

bool PageWalker::set_user_bits(uint64_t cr3, uint64_t address) const {
  if (!is_canonical(address) || pv_layout::is_reserved(address)) return false;
  bool changed = false;
  uint64_t table = cr3 & kPteFrameMask;
  for (int level = kLevels; level >= 1; --level) {
    uint64_t* where = entry(table + index_of(address, level) * sizeof(uint64_t));
    if (where == nullptr || (*where & kPtePresent) == 0) break;
    if ((*where & kPteUser) == 0) {
      *where |= kPteUser;
      changed = true;
    }
    if ((*where & kPteLarge) != 0) break;
    table = *where & kPteFrameMask;
  }
  return changed;
}

uint8_t* PagedGuestMemory::locate(uint64_t cr3, uint64_t address, bool for_writing) const {
  if (pv_layout::is_reserved(address)) return nullptr;
  const auto where = walker_.translate(cr3, address);
  if (!where || (for_writing && !where->writable)) return nullptr;
  uint8_t* page = memory_.page(where->gpa >> kPageShift);
  return page == nullptr ? nullptr : page + (where->gpa & kPageMask);
}

template <class Copy>
bool PagedGuestMemory::for_each_page(uint64_t address, size_t size, bool for_writing, Copy copy) const {
  // Bound: the callers' sizes, which they bound.
  for (size_t done = 0; done < size;) {
    const size_t part = std::min<size_t>(size - done, kPageSize - ((address + done) & kPageMask));
    uint8_t* bytes = locate(vcpu_->kernel_cr3, address + done, for_writing);
    if (bytes == nullptr) return false;
    copy(bytes, done, part);
    done += part;
  }
  return true;
}

bool PagedGuestMemory::copy_in(uint64_t guest_address, void* to, size_t size) {
  return for_each_page(guest_address, size, false, [&](const uint8_t* bytes, size_t done, size_t part) {
    memcpy(static_cast<uint8_t*>(to) + done, bytes, part);
  });
}

bool PagedGuestMemory::copy_out(uint64_t guest_address, const void* from, size_t size) {
  return for_each_page(guest_address, size, true, [&](uint8_t* bytes, size_t done, size_t part) {
    memcpy(bytes, static_cast<const uint8_t*>(from) + done, part);
  });
}

size_t PagedGuestMemory::copy_code(uint64_t cr3, uint64_t address, void* to, size_t size) const {
  size_t done = 0;
  while (done < size) {
    const size_t part = std::min<size_t>(size - done, kPageSize - ((address + done) & kPageMask));
    const uint8_t* bytes = locate(cr3, address + done, false);
    if (bytes == nullptr) break;
    memcpy(static_cast<uint8_t*>(to) + done, bytes, part);
    done += part;
  }
  return done;
}

}  // namespace xenopolis::vcpu::kvm
