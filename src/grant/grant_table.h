// Grant tables, version 1 (<xen/grant_table.h>): guests offer pages, Dom0 maps them.
#pragma once

#include <cstdint>

#include "machine/machine.h"
#include "xen_abi/xen.h"

namespace xenopolis::grant {

inline constexpr uint32_t kEntriesPerFrame = kPageSize / sizeof(grant_entry_v1_t);

// All operations may be called from any process; state is in the machine (machine::kGrantOffset). Entries live in the
// guest's own frames and are hostile: each is read once, atomically, and changed by compare-and-swap (GTF_reading/writing).
class GrantTables {
 public:
  explicit GrantTables(machine::Machine& machine) : machine_(machine) {}

  // `first_frame` .. + max_frames: guest frames (in the hypervisor area) that become the table as it grows.
  void create_domain(DomId domid, Gfn first_frame, uint32_t max_frames);
  void destroy_domain(DomId domid);

  // GNTTABOP_setup_table: at least `frames` frames from now on; fills `gfns` with them. Xen's GNTST_* status.
  int16_t setup_table(DomId domid, uint32_t frames, uint64_t* gfns);
  uint32_t frames(DomId domid) const;
  uint32_t max_frames(DomId domid) const;

  // GNTTABOP_map_grant_ref by Dom0: the granted page, by arithmetic. GNTST_okay and `page`, or why not. The grant stays in
  // use (the guest sees GTF_reading/GTF_writing) until unmap.
  int16_t map(DomId mapper, DomId domid, grant_ref_t reference, bool read_only, void** page);
  int16_t unmap(DomId mapper, DomId domid, grant_ref_t reference, bool read_only);

 private:
  machine::Machine& machine_;
};

}  // namespace xenopolis::grant
