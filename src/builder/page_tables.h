// The page tables on which a domain starts.
#pragma once

#include <cstdint>

#include "machine/domain_memory.h"

namespace xenopolis::builder {

// A run of virtual addresses, mapped to guest-physical 0 and up.
struct InitialMapping {
  uint64_t virtual_base;  // of a page
  uint64_t pages;         // at least 1
};

// Whether the guest may own all of these addresses: canonical, not wrapping, outside of Xen's reserved range.
bool is_guest_range(uint64_t first, uint64_t size);

// How many frames the 4-level tables for `mapping` take. The mapping is a guest range.
uint64_t page_table_pages(const InitialMapping& mapping);

// Writes them to page_table_pages() zeroed frames of RAM from `first_table` on, the L4 table first.
void write_page_tables(const machine::DomainMemory& memory, Gfn first_table, const InitialMapping& mapping);

}  // namespace xenopolis::builder
