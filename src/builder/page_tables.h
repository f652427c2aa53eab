// The page tables on which a domain starts.
#pragma once

#include <cstdint>

#include "machine/domain_memory.h"

namespace xenopolis::builder {

// A run of virtual addresses, mapped to the frames from `first` on.
struct InitialMapping {
  uint64_t virtual_base;  // of a page
  uint64_t pages;         // at least 1
  Gfn first = 0;
};

// What one entry of the L4 table maps.
inline constexpr uint64_t kL4EntrySize = 1ull << 39;

// Whether the guest may own all of these addresses: canonical, not wrapping, outside of Xen's reserved range.
bool is_guest_range(uint64_t first, uint64_t size);

// How many frames the 4-level tables for `mapping` take. The mapping is a guest range.
uint64_t page_table_pages(const InitialMapping& mapping);

// Writes them to page_table_pages() zeroed frames of RAM from `first_table` on, the L4 table first.
void write_page_tables(const machine::DomainMemory& memory, Gfn first_table, const InitialMapping& mapping);

// Adds a mapping whose L4 entries are not in use to the tables at `root`: as many frames as page_table_pages() says,
// less the L4 table.
void add_to_page_tables(const machine::DomainMemory& memory, Gfn root, Gfn first_table, const InitialMapping& mapping);

}  // namespace xenopolis::builder
