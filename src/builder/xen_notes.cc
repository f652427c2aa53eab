#include "builder/xen_notes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "xen_abi/xen.h"

namespace xenopolis::builder {
namespace {

constexpr std::string_view kOwner{"Xen", 4};  // with its NUL, as n_namesz counts it
constexpr std::string_view kGuestSection = "__xen_guest";
constexpr std::string_view kXenVersion = "xen-3.0";

constexpr uint64_t round_up_4(uint64_t size) {
  return (size + 3) & ~uint64_t{3};
}

std::string text_of(std::span<const uint8_t> description) {
  const auto end = std::find(description.begin(), description.end(), 0);
  return {description.begin(), end};
}

// Xen takes 1, 2, 4 and 8 bytes; other sizes count as 0.
uint64_t number_of(std::span<const uint8_t> description) {
  const size_t size = description.size();
  uint64_t value = 0;
  if (size == 1 || size == 2 || size == 4 || size == 8) std::memcpy(&value, description.data(), size);
  return value;
}

void take_note(XenNotes& notes, uint32_t type, std::span<const uint8_t> description) {
  switch (type) {
    case XEN_ELFNOTE_ENTRY:
      notes.entry = number_of(description);
      break;
    case XEN_ELFNOTE_HYPERCALL_PAGE:
      notes.hypercall_page = number_of(description);
      break;
    case XEN_ELFNOTE_VIRT_BASE:
      notes.virtual_base = number_of(description);
      break;
    case XEN_ELFNOTE_PADDR_OFFSET:
      notes.physical_offset = number_of(description);
      break;
    case XEN_ELFNOTE_PHYS32_ENTRY:
      notes.pvh_entry = number_of(description);
      break;
    case XEN_ELFNOTE_INIT_P2M:
      notes.frame_list = number_of(description);
      break;
    case XEN_ELFNOTE_MOD_START_PFN:
      notes.ramdisk_by_frame = number_of(description) != 0;
      break;
    case XEN_ELFNOTE_GUEST_OS:
      notes.guest_os = text_of(description);
      break;
    case XEN_ELFNOTE_LOADER:
      notes.loader = text_of(description);
      break;
    case XEN_ELFNOTE_XEN_VERSION:
      notes.xen_version = text_of(description);
      break;
    default:
      break;  // the others ask for nothing that the builder could do differently
  }
}

// Returns how many of the notes in `bytes` are Xen's. Bounded by the size of the file: a note takes 12 bytes at least.
Result<uint32_t> take_notes(const ElfFile& file, XenNotes& notes, std::span<const uint8_t> bytes,
                            const std::string& where) {
  uint32_t count = 0;
  while (!bytes.empty()) {
    Elf64_Nhdr header;
    if (bytes.size() < sizeof header) {
      // Padding to the alignment of the segment is no note.
      if (std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; })) break;
      return file.bad(fmt::format("{} ends in the middle of a note's header", where));
    }
    std::memcpy(&header, bytes.data(), sizeof header);
    const uint64_t description_at = sizeof header + round_up_4(header.n_namesz);
    const uint64_t size = description_at + uint64_t{header.n_descsz};
    if (size > bytes.size()) {
      return file.bad(fmt::format("a note of type {} in {} takes {} bytes, but {} are left", header.n_type, where, size,
                                  bytes.size()));
    }
    const auto* name = reinterpret_cast<const char*>(bytes.data() + sizeof header);
    if (std::string_view(name, header.n_namesz) == kOwner) {
      take_note(notes, header.n_type, bytes.subspan(description_at, header.n_descsz));
      ++count;
    }
    bytes = bytes.subspan(std::min<uint64_t>(round_up_4(size), bytes.size()));
  }
  return count;
}

// "LOADER=generic,VIRT_BASE=0x0,HYPERCALL_PAGE=0x2": numbers as strtoull(3) reads them.
void take_guest_section(XenNotes& notes, std::span<const uint8_t> bytes) {
  std::string text = text_of(bytes);
  std::optional<uint64_t> hypercall_frame;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string item = text.substr(at, end - at);
    at = end + 1;
    const size_t equals = item.find('=');
    if (equals == std::string::npos) continue;
    const std::string key = item.substr(0, equals);
    const std::string value = item.substr(equals + 1);
    const uint64_t number = std::strtoull(value.c_str(), nullptr, 0);
    if (key == "GUEST_OS") notes.guest_os = value;
    if (key == "LOADER") notes.loader = value;
    if (key == "XEN_VER") notes.xen_version = value;
    if (key == "VIRT_BASE") notes.virtual_base = number;
    if (key == "VIRT_ENTRY") notes.entry = number;
    if (key == "ELF_PADDR_OFFSET") notes.physical_offset = number;
    if (key == "HYPERCALL_PAGE") hypercall_frame = number;
  }
  // Here it is a frame number relative to VIRT_BASE, in a note an address.
  if (hypercall_frame) notes.hypercall_page = notes.virtual_base.value_or(0) + (*hypercall_frame << kPageShift);
  notes.legacy = true;
}

Result<XenNotes> find_notes(const ElfFile& file) {
  XenNotes notes;
  uint32_t found = 0;
  for (const Elf64_Phdr& segment : file.segments()) {
    // An offset of 0 is what some versions of binutils write for a note segment that they dropped.
    if (segment.p_type != PT_NOTE || segment.p_offset == 0) continue;
    const auto bytes = TRY(file.part(segment.p_offset, segment.p_filesz, "the note segment"));
    found += TRY(take_notes(file, notes, bytes, "the note segment"));
  }
  if (found != 0) return notes;
  for (const Elf64_Shdr& section : file.sections()) {
    if (section.sh_type != SHT_NOTE) continue;
    const auto bytes = TRY(file.part(section.sh_offset, section.sh_size, "a note section"));
    found += TRY(take_notes(file, notes, bytes, "a note section"));
  }
  if (found != 0) return notes;
  for (const Elf64_Shdr& section : file.sections()) {
    if (section.sh_type == SHT_NOBITS || file.section_name(section) != kGuestSection) continue;
    take_guest_section(notes, TRY(file.part(section.sh_offset, section.sh_size, "the __xen_guest section")));
    return notes;
  }
  return file.bad(
      "no Xen notes and no __xen_guest section, so it is no Xen PV kernel; one has notes with owner \"Xen\" "
      "(XEN_VERSION, ENTRY, VIRT_BASE...), see readelf -n");
}

}  // namespace

Result<XenNotes> read_xen_notes(const ElfFile& file) {
  XenNotes notes = TRY(find_notes(file));
  if (notes.pvh_entry && notes.xen_version.empty() && !notes.entry) {
    return file.bad("a PVH-only kernel (PHYS32_ENTRY and no PV notes); only PV kernels run here");
  }
  // The three conditions under which Xen loads an image at all.
  if (!std::string_view(notes.loader).starts_with("generic") &&
      !std::string_view(notes.guest_os).starts_with("linux")) {
    return file.bad(
        fmt::format("its notes ask for loader '{}' (guest '{}'); Xen's is 'generic'", notes.loader, notes.guest_os));
  }
  if (!std::string_view(notes.xen_version).starts_with(kXenVersion)) {
    return file.bad(fmt::format("its notes name the Xen ABI '{}'; the ABI is '{}'", notes.xen_version, kXenVersion));
  }
  if (notes.physical_offset && !notes.virtual_base) {
    return file.bad("its notes have PADDR_OFFSET but no VIRT_BASE; the one means nothing without the other");
  }
  return notes;
}

}  // namespace xenopolis::builder
