// For tests: makes ELF files byte by byte, good ones and slightly wrong ones.
#pragma once

#include <elf.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "xen_abi/xen.h"

namespace xenopolis::builder {

inline void append_bytes(std::vector<uint8_t>& out, const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  out.insert(out.end(), bytes, bytes + size);
}

inline void append_note(std::vector<uint8_t>& out, uint32_t type, const void* data, uint32_t size) {
  const Elf64_Nhdr header{4, size, type};
  append_bytes(out, &header, sizeof header);
  append_bytes(out, "Xen", 4);
  append_bytes(out, data, size);
  while (out.size() % 4 != 0) out.push_back(0);
}

// A kernel of two segments (text with file contents, data with some bytes and bss) and notes. Change the fields, then
// take bytes(): program headers follow the ELF header, then the notes, the text and the data; section headers last.
struct TestImage {
  static constexpr uint64_t kVirtualBase = 0x4000'0000;
  static constexpr uint64_t kLinuxBase = 0xffff'ffff'8000'0000, kLinuxFrameList = 0x80'0000'0000;

  Elf64_Ehdr header{};
  Elf64_Phdr text{}, data{}, note{};
  std::vector<uint8_t> notes;
  std::vector<uint8_t> text_bytes = std::vector<uint8_t>(0x1800, 0x90);
  std::vector<uint8_t> data_bytes = std::vector<uint8_t>(0x100, 0xda);
  // Written as a section of that name when not empty.
  std::string guest_section;
  std::vector<Elf64_Rela> relocations;
  bool note_section = false;

  TestImage() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_DYN;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_entry = kVirtualBase + 0x1000;
    header.e_phoff = sizeof header;
    header.e_ehsize = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 3;
    header.e_shentsize = sizeof(Elf64_Shdr);
    text = {PT_LOAD, PF_R | PF_X, 0, kVirtualBase, 0, text_bytes.size(), text_bytes.size(), 0x1000};
    data = {PT_LOAD, PF_R | PF_W, 0, kVirtualBase + 0x2000, 0x2000, data_bytes.size(), 0x5000, 0x1000};
    note = {PT_NOTE, PF_R, 0, 0, 0, 0, 0, 4};
    add_text_note(XEN_ELFNOTE_XEN_VERSION, "xen-3.0");
    add_text_note(XEN_ELFNOTE_LOADER, "generic");
    add_text_note(XEN_ELFNOTE_GUEST_OS, "test-guest");
    add_note(XEN_ELFNOTE_VIRT_BASE, kVirtualBase);
    add_note(XEN_ELFNOTE_HYPERCALL_PAGE, kVirtualBase);
  }

  void add_note(uint32_t type, uint64_t value) { append_note(notes, type, &value, sizeof value); }
  void add_text_note(uint32_t type, std::string_view value) {
    append_note(notes, type, std::string(value).c_str(), static_cast<uint32_t>(value.size() + 1));
  }

  // Another VIRT_BASE, and what goes with it.
  void move_to(uint64_t base) {
    add_note(XEN_ELFNOTE_VIRT_BASE, base);
    add_note(XEN_ELFNOTE_HYPERCALL_PAGE, base);
    header.e_entry = base + 0x1000;
  }
  // To where Linux is, with its notes on what need not be in the initial region.
  void resemble_linux() {
    move_to(kLinuxBase);
    add_note(XEN_ELFNOTE_INIT_P2M, kLinuxFrameList);
    add_note(XEN_ELFNOTE_MOD_START_PFN, 1);
  }

  // Offsets are filled in unless the test has set them.
  std::vector<uint8_t> bytes() const {
    Elf64_Ehdr elf = header;
    std::vector<Elf64_Phdr> programs{text, data, note};
    uint64_t at = sizeof elf + programs.size() * sizeof(Elf64_Phdr);
    const auto place = [&at](Elf64_Phdr& segment, const std::vector<uint8_t>& contents) {
      if (segment.p_offset == 0) segment.p_offset = at;
      at += contents.size();
    };
    programs[2].p_filesz = note.p_filesz == 0 ? notes.size() : note.p_filesz;
    place(programs[2], notes);
    place(programs[0], text_bytes);
    place(programs[1], data_bytes);
    std::vector<uint8_t> tail;
    if (!guest_section.empty() || !relocations.empty() || note_section) tail = sections(elf, at, programs[2].p_offset);

    std::vector<uint8_t> out;
    append_bytes(out, &elf, sizeof elf);
    append_bytes(out, programs.data(), programs.size() * sizeof(Elf64_Phdr));
    for (const auto* part : {&notes, &text_bytes, &data_bytes, static_cast<const std::vector<uint8_t>*>(&tail)}) {
      append_bytes(out, part->data(), part->size());
    }
    return out;
  }

  std::shared_ptr<const std::vector<uint8_t>> file() const {
    return std::make_shared<const std::vector<uint8_t>>(bytes());
  }

 private:
  // Contents at file offset `at`, then the headers.
  std::vector<uint8_t> sections(Elf64_Ehdr& elf, uint64_t at, uint64_t notes_offset) const {
    static constexpr char kNames[] = "\0.shstrtab\0__xen_guest\0.rela.dyn\0.note";
    std::vector<uint8_t> out;
    std::vector<Elf64_Shdr> headers(5);
    const auto add = [&](size_t index, uint32_t name, uint32_t type, const void* contents, size_t size) {
      headers[index].sh_name = name;
      headers[index].sh_type = type;
      headers[index].sh_offset = at + out.size();
      headers[index].sh_size = size;
      append_bytes(out, contents, size);
    };
    add(1, 1, SHT_STRTAB, kNames, sizeof kNames);
    add(2, 11, guest_section.empty() ? SHT_NULL : SHT_PROGBITS, guest_section.data(), guest_section.size());
    add(3, 23, SHT_RELA, relocations.data(), relocations.size() * sizeof(Elf64_Rela));
    headers[3].sh_flags = SHF_ALLOC;
    headers[4].sh_name = 33;
    headers[4].sh_type = note_section ? SHT_NOTE : SHT_NULL;
    headers[4].sh_offset = notes_offset;
    headers[4].sh_size = notes.size();
    elf.e_shoff = at + out.size();
    elf.e_shnum = static_cast<uint16_t>(headers.size());
    elf.e_shstrndx = 1;
    append_bytes(out, headers.data(), headers.size() * sizeof(Elf64_Shdr));
    return out;
  }
};

}  // namespace xenopolis::builder
