// Builds a PV domain in its memory, as Xen's domain builder does (<xen/xen.h>, "Start-of-day memory layout").
#pragma once

#include <optional>
#include <span>
#include <string>

#include "builder/image.h"
#include "machine/domain_memory.h"

namespace xenopolis::builder {

struct BuildConfig {
  std::string command_line;  // at most MAX_GUEST_CMDLINE - 1 bytes
  Port store_port = 0;
  Port console_port = 0;
  // kvm: page tables are built and the guest runs at the image's virtual base. Flat (hosted): no page tables; virtual
  // address of guest-physical 0 is flat_base (the extent's address), pt_base is 0.
  bool flat = false;
  uint64_t flat_base = 0;
  std::span<const uint8_t> ramdisk;
};

// How the first vCPU starts, and what the backends and toolstack must know.
struct BuiltDomain {
  uint64_t virtual_base = 0;     // virtual address of guest-physical 0 in the initial mapping
  uint64_t entry = 0;            // RIP
  uint64_t start_info = 0;       // RSI, virtual
  uint64_t stack = 0;            // RSP
  uint64_t page_table_base = 0;  // guest-physical address of the L4 table; 0 when flat
  uint64_t page_table_pages = 0;
  std::optional<uint64_t> hypercall_page;  // virtual, at run-time base
  Gfn store_gfn = 0;
  Gfn console_gfn = 0;
};

// `memory` holds zeros. shared_info (machine-to-physical table too) lies in the hypervisor area, see
// domain/memory_layout.h; `shared_info_gfn` goes into start_info. EFBIG with sizes when the image does not fit.
Result<BuiltDomain> build(const Image& image, const machine::DomainMemory& memory, Gfn shared_info_gfn,
                          const BuildConfig& config);

}  // namespace xenopolis::builder
