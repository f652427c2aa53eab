// What a PV kernel says about itself to its loader: Xen's ELF notes (<xen/elfnote.h>) or the older __xen_guest section.
#pragma once

#include <optional>

#include "builder/elf_file.h"

namespace xenopolis::builder {

struct XenNotes {
  std::optional<uint64_t> entry;
  std::optional<uint64_t> hypercall_page;
  std::optional<uint64_t> virtual_base;
  std::optional<uint64_t> physical_offset;  // PADDR_OFFSET: what to subtract from p_paddr
  std::optional<uint64_t> pvh_entry;        // PHYS32_ENTRY
  std::optional<uint64_t> frame_list;       // INIT_P2M: virtual address for the list of frames
  bool ramdisk_by_frame = false;            // MOD_START_PFN: the ramdisk need not be mapped
  std::string guest_os;
  std::string loader;
  std::string xen_version;
  bool legacy = false;  // from __xen_guest
};

// Where Xen looks (libelf-dominfo.c), in its order: PT_NOTE segments, SHT_NOTE sections, the __xen_guest section. What
// is found first counts. ENOEXEC when there is none of them, or notes are cut off, or they ask for another loader than
// Xen's.
Result<XenNotes> read_xen_notes(const ElfFile& file);

}  // namespace xenopolis::builder
