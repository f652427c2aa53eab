// Granting own frames to another domain: version 1 entries of the grant table (<xen/grant_table.h>).
#pragma once

#include "runtime/domain.h"

namespace xenopolis::guest::grants {

// The first reference of ours; those below are reserved for the tools (console and store rings).
inline constexpr grant_ref_t kFirst = GNTTAB_NR_RESERVED_ENTRIES;
inline constexpr grant_ref_t kCount = kPageSize / sizeof(grant_entry_v1_t);

// One frame of grant table. After the batch has run, finish() maps it and answers whether there is a table.
void prepare(Multicall& batch);
bool finish(const Multicall& batch);

volatile grant_entry_v1_t& entry(grant_ref_t reference);

// Lets `domain` map the frame of `page`.
void permit(grant_ref_t reference, domid_t to, const void* page, uint16_t flags = 0);

// Takes it back; false while it is mapped there.
bool revoke(grant_ref_t reference);

}  // namespace xenopolis::guest::grants
