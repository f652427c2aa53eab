// A PV kernel image: an ELF file with Xen notes, checked.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "xen_abi/xen.h"

namespace xenopolis::builder {

// A part of the file that goes to memory at `physical` (guest-physical, from 0), `memory_size` >= bytes.size().
struct Segment {
  uint64_t physical;
  std::span<const uint8_t> bytes;
  uint64_t memory_size;
};

// A parsed image. Its segments point into `file`.
struct Image {
  std::string path;
  std::shared_ptr<const std::vector<uint8_t>> file;
  std::vector<Segment> segments;
  uint64_t virtual_base = 0;               // XEN_ELFNOTE_VIRT_BASE: virtual address of guest-physical 0
  uint64_t entry = 0;                      // XEN_ELFNOTE_ENTRY or e_entry, virtual
  std::optional<uint64_t> hypercall_page;  // XEN_ELFNOTE_HYPERCALL_PAGE, virtual
  std::optional<uint64_t> frame_list;      // XEN_ELFNOTE_INIT_P2M: any number that the kernel likes
  bool ramdisk_by_frame = false;           // XEN_ELFNOTE_MOD_START_PFN
  uint64_t end = 0;                        // guest-physical end of the last segment
  bool position_independent = false;       // ET_DYN: may run at another base (the hosted backend needs it)
  std::string guest_os;                    // XEN_ELFNOTE_GUEST_OS
};

// Errors name the file, what is wrong and what would be right: no ELF, truncated, 32-bit, other architecture, no Xen
// notes (neither notes nor a __xen_guest section), segments that overlap or lie outside.
Result<Image> parse_image(std::string path, std::shared_ptr<const std::vector<uint8_t>> file);
// From a descriptor of the file, which may be compressed, or a bzImage (unpack.h); `name` is for errors.
Result<Image> load_image(int fd, const std::string& name);
Result<Image> load_image(const std::string& path);

}  // namespace xenopolis::builder
