// Grant tables, version 1 (<xen/grant_table.h>): guests offer pages, Dom0 maps them.
#pragma once

#include <cstdint>

#include "machine/machine.h"
#include "xen_abi/xen.h"

namespace xenopolis::grant {

inline constexpr uint32_t kEntriesPerFrame = kPageSize / sizeof(grant_entry_v1_t);
// Frames that any domain's table may have.
inline constexpr uint32_t kFrameLimit = 64;
// How often one grant may be mapped read-only, and writable, at a time (a pin counter of Xen's has 8 bits).
inline constexpr uint16_t kMaxMappings = 255;

// All operations may be called from any process; state is in the machine (machine::kGrantOffset). Entries live in the
// guest's own frames and are hostile: each is read once, atomically, and changed by compare-and-swap
// (GTF_reading/writing). What is mapped is remembered outside of the guest's reach.
class GrantTables {
 public:
  explicit GrantTables(machine::Machine& machine) : machine_(machine) {}

  // `first_frame` .. + max_frames: guest frames (in the hypervisor area) that become the table as it grows; it starts
  // with one. At most kFrameLimit are used. The domain's memory (machine::memory_of) is there already.
  void create_domain(DomId domid, Gfn first_frame, uint32_t max_frames);
  // Revokes: from here on nothing can be mapped, and unmap() of what was mapped fails. Before the memory is used for
  // something else, Dom0 has to have forgotten the pages: see mappings().
  void destroy_domain(DomId domid);

  // GNTTABOP_setup_table: at least `frames` frames from now on; fills `gfns` with them. Xen's GNTST_* status;
  // GNTST_general_error: more than max_frames().
  int16_t setup_table(DomId domid, uint32_t frames, uint64_t* gfns);
  // 0 when there is no such domain.
  uint32_t frames(DomId domid) const;
  uint32_t max_frames(DomId domid) const;

  // GNTTABOP_map_grant_ref by Dom0: the granted page, by arithmetic. GNTST_okay and `page`, or why not. The grant stays
  // in use (the guest sees GTF_reading/GTF_writing) until unmap. While a grant is in use, further mappings get the page
  // that the first one got, whatever the entry says by then.
  int16_t map(DomId mapper, DomId domid, grant_ref_t reference, bool read_only, void** page);
  // GNTST_bad_handle: not mapped (that way).
  int16_t unmap(DomId mapper, DomId domid, grant_ref_t reference, bool read_only);

  // How many mappings of the domain's grants exist.
  uint32_t mappings(DomId domid) const;

 private:
  machine::Machine& machine_;
};

}  // namespace xenopolis::grant
