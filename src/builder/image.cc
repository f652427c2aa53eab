#include "builder/image.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/file.h"
#include "builder/elf_file.h"
#include "builder/page_tables.h"
#include "builder/unpack.h"
#include "builder/xen_notes.h"

namespace xenopolis::builder {
namespace {

// A debug vmlinux of a distribution has about 700 MiB.
constexpr uint64_t kMaxFileSize = 1ull << 30;
// What is compressed has no debug information: below 100 MiB. A file of 1 MiB can say that it is 1 GiB, which a cell
// would unpack while its other domains wait.
constexpr uint64_t kMaxUnpackedSize = 256ull << 20;

Result<Segment> read_segment(const ElfFile& file, size_t index, uint64_t physical_offset) {
  const Elf64_Phdr& header = file.segments()[index];
  if (header.p_filesz > header.p_memsz) {
    return file.bad(fmt::format("segment {} has {} bytes in the file but only {} in memory", index, header.p_filesz,
                                header.p_memsz));
  }
  if (header.p_paddr < physical_offset) {
    return file.bad(
        fmt::format("segment {} lies at {:#x}, below PADDR_OFFSET {:#x}", index, header.p_paddr, physical_offset));
  }
  const uint64_t physical = header.p_paddr - physical_offset;
  if (physical + header.p_memsz < physical) {
    return file.bad(fmt::format("segment {} at {:#x} with {:#x} bytes of memory wraps around the address space", index,
                                physical, header.p_memsz));
  }
  const auto bytes = TRY(file.part(header.p_offset, header.p_filesz, fmt::format("segment {}", index)));
  return Segment{physical, bytes, header.p_memsz};
}

Result<std::vector<Segment>> read_segments(const ElfFile& file, uint64_t physical_offset) {
  std::vector<Segment> segments;
  for (size_t index = 0; index < file.segments().size(); ++index) {
    const Elf64_Phdr& header = file.segments()[index];
    if (header.p_type != PT_LOAD || header.p_memsz == 0) continue;
    segments.push_back(TRY(read_segment(file, index, physical_offset)));
  }
  if (segments.empty()) return file.bad("no segment to load (PT_LOAD); link it as an executable");
  std::sort(segments.begin(), segments.end(),
            [](const Segment& a, const Segment& b) { return a.physical < b.physical; });
  for (size_t i = 1; i < segments.size(); ++i) {
    const Segment& before = segments[i - 1];
    if (segments[i].physical < before.physical + before.memory_size) {
      return file.bad(fmt::format("segments overlap: one ends at {:#x}, the next begins at {:#x} (guest-physical)",
                                  before.physical + before.memory_size, segments[i].physical));
    }
  }
  return segments;
}

bool all_relative(std::span<const uint8_t> relocations) {
  if (relocations.size() % sizeof(Elf64_Rela) != 0) return false;
  for (size_t at = 0; at < relocations.size(); at += sizeof(Elf64_Rela)) {
    Elf64_Rela relocation;
    std::memcpy(&relocation, relocations.data() + at, sizeof relocation);
    if (ELF64_R_TYPE(relocation.r_info) != R_X86_64_RELATIVE) return false;
  }
  return true;
}

// The loader relocates nothing: a position-independent kernel does so itself, and it can only with what it carries in
// its memory. ET_DYN says that it was linked for that; any relocation but RELATIVE would need symbols.
bool is_position_independent(const ElfFile& file) {
  if (file.header().e_type != ET_DYN) return false;
  for (const Elf64_Shdr& section : file.sections()) {
    if ((section.sh_flags & SHF_ALLOC) == 0) continue;
    if (section.sh_type == SHT_REL && section.sh_size != 0) return false;
    if (section.sh_type != SHT_RELA) continue;
    const auto relocations = file.part(section.sh_offset, section.sh_size, "relocations");
    if (!relocations || !all_relative(*relocations)) return false;
  }
  return true;
}

Status check_addresses(const ElfFile& file, const Image& image) {
  const uint64_t first = image.virtual_base + image.segments.front().physical;
  const uint64_t end = image.virtual_base + image.end;
  if (image.virtual_base % kPageSize != 0) {
    return file.bad(
        fmt::format("VIRT_BASE {:#x} is not the address of a page (a multiple of 4096)", image.virtual_base));
  }
  if (!is_guest_range(image.virtual_base, image.end)) {
    return file.bad(fmt::format("addresses {:#x} to {:#x} are not a guest's: those are below {:#x}, or {:#x} and above",
                                image.virtual_base, end, 1ull << 47, HYPERVISOR_VIRT_END));
  }
  if (image.entry < first || image.entry >= end) {
    return file.bad(
        fmt::format("the entry point {:#x} lies outside of the image ({:#x} to {:#x})", image.entry, first, end));
  }
  if (!image.hypercall_page) return {};
  const uint64_t page = *image.hypercall_page;
  if (page % kPageSize != 0 || page < image.virtual_base || page - image.virtual_base >= image.end) {
    return file.bad(fmt::format("the hypercall page {:#x} is no page of the image ({:#x} to {:#x})", page,
                                image.virtual_base, end));
  }
  return {};
}

}  // namespace

Result<Image> parse_image(std::string path, std::shared_ptr<const std::vector<uint8_t>> file) {
  const ElfFile elf = TRY(ElfFile::parse(path, *file));
  const XenNotes notes = TRY(read_xen_notes(elf));
  Image image;
  image.path = std::move(path);
  image.file = std::move(file);
  image.virtual_base = notes.virtual_base.value_or(0);
  // Before there were notes, p_paddr held virtual addresses.
  const uint64_t physical_offset = notes.physical_offset.value_or(notes.legacy ? image.virtual_base : 0);
  image.segments = TRY(read_segments(elf, physical_offset));
  image.end = image.segments.back().physical + image.segments.back().memory_size;
  image.entry = notes.entry.value_or(elf.header().e_entry);
  image.hypercall_page = notes.hypercall_page;
  image.frame_list = notes.frame_list;
  image.ramdisk_by_frame = notes.ramdisk_by_frame;
  image.position_independent = is_position_independent(elf);
  image.guest_os = notes.guest_os;
  TRY_VOID(check_addresses(elf, image));
  return image;
}

Result<Image> load_image(int fd, const std::string& name) {
  // When the file becomes shorter meanwhile, the parser says what is missing.
  auto bytes = TRY(read_file(fd, name, "kernel image", kMaxFileSize));
  auto file = std::make_shared<const std::vector<uint8_t>>(std::move(bytes));
  return parse_image(name, TRY(unpack_kernel(name, std::move(file), kMaxUnpackedSize)));
}

Result<Image> load_image(const std::string& path) {
  return load_image(TRY(open_regular_file(path, "kernel image")).get(), path);
}

}  // namespace xenopolis::builder
