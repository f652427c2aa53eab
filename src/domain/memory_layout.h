// What lies where in a domain's extent.
#pragma once

#include "machine/layout.h"

namespace xenopolis::domain {

// Frames that the guest may have as grant table frames, v1: 512 grants each; libxl's default.
inline constexpr uint64_t kMaxGrantFrames = 64;
// What a vCPU backend may use for its descriptor tables, stubs and page tables.
inline constexpr uint64_t kBackendPages = 40;

// The domain's RAM, then the hypervisor area:
//   ram_pages + 0                 shared_info
//             + 1                 grant frames (kMaxGrantFrames)
//             + 65                machine-to-physical table: 8 bytes per frame of RAM
//             + 65 + m2p_pages()  the vCPU backend's own (kBackendPages)
// A guest can map these frames (it owns its page tables), and so overwrite them: what the hypervisor relies on is never
// read back from here unchecked.
struct MemoryLayout {
  uint64_t ram_pages;

  Gfn shared_info() const { return ram_pages; }
  Gfn grant_frame(uint64_t index) const { return ram_pages + 1 + index; }
  Gfn m2p() const { return ram_pages + 1 + kMaxGrantFrames; }
  uint64_t m2p_pages() const { return (ram_pages * 8 + kPageSize - 1) / kPageSize; }
  Gfn backend() const { return m2p() + m2p_pages(); }
  uint64_t total_pages() const { return backend() + kBackendPages; }
};

}  // namespace xenopolis::domain
