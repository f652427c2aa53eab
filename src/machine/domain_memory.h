// Which frames are a domain's memory: guest frame number to address, by arithmetic.
#pragma once

#include <atomic>

#include "machine/frames.h"
#include "machine/layout.h"

namespace xenopolis::machine {

// A domain's pseudo-physical memory is one extent: RAM first, then the hypervisor area (shared_info, grant frames,
// machine-to-physical table, what the vCPU backend needs). Guest frame number == page offset into the extent, and also
// what the guest calls a machine frame number. Written by the toolstack before the domain first runs; constant until
// the domain is destroyed, which happens after its event channels and grants are gone.
struct DomainMemory {
  Extent extent;
  uint64_t ram_pages = 0;

  // Any page of the extent, or nullptr. Trusted callers only.
  uint8_t* page(Gfn gfn) const { return gfn < extent.pages ? extent.begin() + (gfn << kPageShift) : nullptr; }
  // A page of RAM, which is all that a guest may name when it offers a page of its own (vcpu_info, control blocks,
  // event arrays, grants), or nullptr.
  uint8_t* ram_page(Gfn gfn) const { return gfn < ram_pages ? page(gfn) : nullptr; }
};

inline DomainMemory& memory_of(DomId domid) {
  return table_element<DomainMemory, kDomainMemoryOffset, kDomainMemoryStride>(domid);
}

}  // namespace xenopolis::machine
