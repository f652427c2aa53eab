#include "builder/elf_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace xenopolis::builder {
namespace {

// Linux' boot protocol (Documentation/arch/x86/boot.rst): the setup header's magic.
constexpr uint64_t kBzImageMagicOffset = 0x202;

bool starts_with(std::span<const uint8_t> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

// What somebody has most likely passed instead of an ELF file.
std::string describe_other_format(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return "the file is empty";
  if (starts_with(bytes, "\x1f\x8b")) return "it is gzip-compressed";
  if (bytes.size() > kBzImageMagicOffset && starts_with(bytes.subspan(kBzImageMagicOffset), "HdrS")) {
    return "it is a Linux bzImage";
  }
  return "it does not start with \\x7fELF";
}

std::string machine_name(uint16_t machine) {
  switch (machine) {
    case EM_386:
      return "32-bit x86";
    case EM_ARM:
      return "ARM";
    case EM_AARCH64:
      return "AArch64";
    case EM_RISCV:
      return "RISC-V";
    default:
      return fmt::format("machine type {}", machine);
  }
}

// `bytes` holds whole elements.
template <class T>
std::vector<T> copy_table(std::span<const uint8_t> bytes) {
  std::vector<T> table(bytes.size() / sizeof(T));
  if (!table.empty()) std::memcpy(table.data(), bytes.data(), table.size() * sizeof(T));
  return table;
}

}  // namespace

tl::unexpected<Error> ElfFile::bad(const std::string& what) const {
  return fail(ENOEXEC, fmt::format("{}: {}", path_, what));
}

Result<ElfFile> ElfFile::parse(std::string path, std::span<const uint8_t> bytes) {
  ElfFile file(std::move(path), bytes);
  TRY_VOID(file.read_header());
  TRY_VOID(file.read_tables());
  return file;
}

Result<std::span<const uint8_t>> ElfFile::part(uint64_t offset, uint64_t size, const std::string& what) const {
  if (offset > bytes_.size() || size > bytes_.size() - offset) {
    return bad(fmt::format("truncated: {} takes {} bytes from offset {}, but the file has {} bytes", what, size, offset,
                           bytes_.size()));
  }
  return bytes_.subspan(offset, size);
}

Status ElfFile::read_header() {
  if (!starts_with(bytes_, std::string_view(ELFMAG, SELFMAG))) {
    return bad(fmt::format("not an ELF file: {}; a PV kernel is a 64-bit x86 ELF file with Xen notes",
                           describe_other_format(bytes_)));
  }
  // The identification comes first, so that a 32-bit file shorter than a 64-bit header is called 32-bit.
  const auto identification = TRY(part(0, EI_NIDENT, "the ELF identification"));
  if (identification[EI_CLASS] != ELFCLASS64) {
    return bad("a 32-bit ELF file; only 64-bit PV kernels run here (32-bit PV is not implemented)");
  }
  if (identification[EI_DATA] != ELFDATA2LSB) return bad("a big-endian ELF file; PV kernels are x86-64, little-endian");
  const auto bytes = TRY(part(0, sizeof header_, "the ELF header"));
  std::memcpy(&header_, bytes.data(), sizeof header_);
  if (header_.e_machine != EM_X86_64) {
    return bad(
        fmt::format("built for {}; PV kernels that run here are built for x86-64", machine_name(header_.e_machine)));
  }
  if (header_.e_type != ET_EXEC && header_.e_type != ET_DYN) {
    return bad(
        fmt::format("ELF type {} cannot be loaded; a kernel is linked as ET_EXEC (2) or ET_DYN (3)", header_.e_type));
  }
  return {};
}

Status ElfFile::read_tables() {
  if (header_.e_phnum == 0) return bad("no program headers, hence nothing to load; link it as an executable");
  if (header_.e_phnum == PN_XNUM) return bad(fmt::format("{} program headers are too many", header_.e_phnum));
  if (header_.e_phentsize != sizeof(Elf64_Phdr)) {
    return bad(fmt::format("program headers of {} bytes; ELF64's have {}", header_.e_phentsize, sizeof(Elf64_Phdr)));
  }
  segments_ = copy_table<Elf64_Phdr>(
      TRY(part(header_.e_phoff, uint64_t{header_.e_phnum} * sizeof(Elf64_Phdr), "the program header table")));
  // Section headers are optional: what is needed to run is in the program headers.
  if (header_.e_shoff == 0 || header_.e_shnum == 0) return {};
  if (header_.e_shentsize != sizeof(Elf64_Shdr)) {
    return bad(fmt::format("section headers of {} bytes; ELF64's have {}", header_.e_shentsize, sizeof(Elf64_Shdr)));
  }
  sections_ = copy_table<Elf64_Shdr>(
      TRY(part(header_.e_shoff, uint64_t{header_.e_shnum} * sizeof(Elf64_Shdr), "the section header table")));
  return {};
}

std::string_view ElfFile::section_name(const Elf64_Shdr& section) const {
  if (header_.e_shstrndx >= sections_.size()) return {};
  const Elf64_Shdr& names = sections_[header_.e_shstrndx];
  const auto bytes = part(names.sh_offset, names.sh_size, "section names");
  if (!bytes || section.sh_name >= bytes->size()) return {};
  const auto tail = bytes->subspan(section.sh_name);
  const auto end = std::find(tail.begin(), tail.end(), 0);
  if (end == tail.end()) return {};
  return {reinterpret_cast<const char*>(tail.data()), static_cast<size_t>(end - tail.begin())};
}

}  // namespace xenopolis::builder
