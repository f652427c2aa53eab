// A 64-bit x86 ELF file whose headers have been copied out and checked. Contents are reached with bounds only.
#pragma once

#include <elf.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace xenopolis::builder {

class ElfFile {
 public:
  // ENOEXEC: no ELF file, or one for another kind of machine, or truncated. `bytes` must outlive the result.
  static Result<ElfFile> parse(std::string path, std::span<const uint8_t> bytes);

  const std::string& path() const { return path_; }
  const Elf64_Ehdr& header() const { return header_; }
  const std::vector<Elf64_Phdr>& segments() const { return segments_; }
  const std::vector<Elf64_Shdr>& sections() const { return sections_; }

  // Part of the file. `what` names it in the error when the file ends before.
  Result<std::span<const uint8_t>> part(uint64_t offset, uint64_t size, const std::string& what) const;
  // Empty when the file has no usable name for it.
  std::string_view section_name(const Elf64_Shdr& section) const;

  // An error about this file: ENOEXEC, "PATH: WHAT".
  tl::unexpected<Error> bad(const std::string& what) const;

 private:
  ElfFile(std::string path, std::span<const uint8_t> bytes) : path_(std::move(path)), bytes_(bytes) {}

  Status read_header();
  Status read_tables();

  std::string path_;
  std::span<const uint8_t> bytes_;
  Elf64_Ehdr header_{};
  std::vector<Elf64_Phdr> segments_;
  std::vector<Elf64_Shdr> sections_;
};

}  // namespace xenopolis::builder
