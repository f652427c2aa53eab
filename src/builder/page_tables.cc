#include "builder/page_tables.h"

#include "base/check.h"

namespace xenopolis::builder {
namespace {

// Intel SDM volume 3, 4.5 (4-level paging).
constexpr uint64_t kPresent = 1 << 0, kWritable = 1 << 1, kUser = 1 << 2, kAccessed = 1 << 5, kDirty = 1 << 6;
constexpr unsigned kLevels = 4, kIndexBits = 9;
constexpr uint64_t kEntriesPerTable = 1 << kIndexBits;
constexpr uint64_t kFrameMask = 0x000f'ffff'ffff'f000;

// User at every level, because a PV kernel runs in ring 3. Accessed and dirty are preset: nobody looks for what the
// start touched, and hardware or KVM need not write the tables to record it. Unlike Xen's, the mapping of the tables
// themselves is writable too: KVM and not validation keeps domains apart, so nothing depends on the guest leaving them
// alone.
constexpr uint64_t kEntryFlags = kPresent | kWritable | kUser | kAccessed | kDirty;

// Xen's range for itself in 64-bit PV guests. It begins with the canonical upper half.
constexpr uint64_t kLowerHalfEnd = 1ull << 47;
static_assert(HYPERVISOR_VIRT_START == 0xffff'8000'0000'0000 && HYPERVISOR_VIRT_END == 0xffff'8800'0000'0000);

static_assert(kL4EntrySize == 1ull << (kPageShift + kIndexBits * (kLevels - 1)));

// The lowest address bit that selects an entry of a table of `level` (1 to 4).
constexpr unsigned shift_of(unsigned level) {
  return kPageShift + kIndexBits * (level - 1);
}

class Writer {
 public:
  // Tables that are missing are taken from `next` on.
  Writer(const machine::DomainMemory& memory, Gfn root, Gfn next) : memory_(memory), root_(root), next_(next) {}

  void map(const InitialMapping& mapping) {
    for (uint64_t i = 0; i < mapping.pages; ++i) map(mapping.virtual_base + (i << kPageShift), mapping.first + i);
  }

  Gfn next() const { return next_; }

 private:
  void map(uint64_t address, Gfn target) {
    Gfn table = root_;
    for (unsigned level = kLevels; level > 1; --level) {
      uint64_t& entry = entry_of(table, level, address);
      if (entry == 0) entry = (next_++ << kPageShift) | kEntryFlags;
      table = (entry & kFrameMask) >> kPageShift;
    }
    entry_of(table, 1, address) = (target << kPageShift) | kEntryFlags;
  }

  uint64_t& entry_of(Gfn table, unsigned level, uint64_t address) {
    uint8_t* page = memory_.ram_page(table);
    CHECK(page != nullptr);
    return reinterpret_cast<uint64_t*>(page)[(address >> shift_of(level)) & (kEntriesPerTable - 1)];
  }

  const machine::DomainMemory& memory_;
  Gfn root_;
  Gfn next_;
};

}  // namespace

bool is_guest_range(uint64_t first, uint64_t size) {
  if (size == 0 || first + (size - 1) < first) return false;
  const uint64_t last = first + (size - 1);
  return last < kLowerHalfEnd || first >= HYPERVISOR_VIRT_END;
}

uint64_t page_table_pages(const InitialMapping& mapping) {
  const uint64_t last = mapping.virtual_base + (mapping.pages << kPageShift) - 1;
  uint64_t tables = 1;
  for (unsigned level = kLevels; level > 1; --level) {
    tables += (last >> shift_of(level)) - (mapping.virtual_base >> shift_of(level)) + 1;
  }
  return tables;
}

void write_page_tables(const machine::DomainMemory& memory, Gfn first_table, const InitialMapping& mapping) {
  Writer writer(memory, first_table, first_table + 1);
  writer.map(mapping);
  CHECK(writer.next() == first_table + page_table_pages(mapping));
}

void add_to_page_tables(const machine::DomainMemory& memory, Gfn root, Gfn first_table, const InitialMapping& mapping) {
  Writer writer(memory, root, first_table);
  writer.map(mapping);
  CHECK(writer.next() == first_table + page_table_pages(mapping) - 1);
}

}  // namespace xenopolis::builder
