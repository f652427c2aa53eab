#include "builder/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>

#include "builder/test_image.h"

namespace xenopolis::builder {
namespace {

using testing::HasSubstr;

Result<Image> parse(const TestImage& image) {
  return parse_image("kernel.elf", image.file());
}
Result<Image> parse(std::vector<uint8_t> bytes) {
  return parse_image("kernel.elf", std::make_shared<const std::vector<uint8_t>>(std::move(bytes)));
}

TEST(Image, GoodImageSaysWhereEverythingGoes) {
  const Image image = parse(TestImage()).value();
  EXPECT_EQ(image.virtual_base, 0x4000'0000u);
  EXPECT_EQ(image.entry, 0x4000'1000u);
  EXPECT_EQ(image.hypercall_page, 0x4000'0000u);
  EXPECT_EQ(image.end, 0x7000u);
  EXPECT_EQ(image.guest_os, "test-guest");
  EXPECT_TRUE(image.position_independent);
  ASSERT_EQ(image.segments.size(), 2u);
  EXPECT_EQ(image.segments[0].physical, 0u);
  EXPECT_EQ(image.segments[0].bytes.size(), 0x1800u);
  EXPECT_EQ(image.segments[0].bytes[0], 0x90);
  EXPECT_EQ(image.segments[1].physical, 0x2000u);
  EXPECT_EQ(image.segments[1].memory_size, 0x5000u);
  EXPECT_EQ(image.segments[1].bytes[0], 0xda);
}

TEST(Image, SegmentsPointIntoTheFileWhichTheImageKeepsAlive) {
  Image image;
  {
    auto file = TestImage().file();
    image = parse_image("kernel.elf", file).value();
  }
  EXPECT_EQ(image.segments[0].bytes[0x17ff], 0x90);
}

TEST(Image, EntryNoteGoesBeforeTheElfHeader) {
  TestImage test;
  test.add_note(XEN_ELFNOTE_ENTRY, 0x4000'0800);
  EXPECT_EQ(parse(test).value().entry, 0x4000'0800u);
}

TEST(Image, PaddrOffsetIsSubtractedAndDefaultsToZeroWithNotes) {
  TestImage test;
  test.text.p_paddr += 0x10'0000;
  test.data.p_paddr += 0x10'0000;
  test.header.e_entry += 0x10'0000;
  EXPECT_EQ(parse(test).value().segments[0].physical, 0x10'0000u);
  test.header.e_entry -= 0x10'0000;
  test.add_note(XEN_ELFNOTE_PADDR_OFFSET, 0x10'0000);
  EXPECT_EQ(parse(test).value().segments[0].physical, 0u);
}

TEST(Image, FourByteNotesAreNumbersToo) {
  TestImage test;
  const uint32_t entry = 0x4000'0010;
  append_note(test.notes, XEN_ELFNOTE_ENTRY, &entry, sizeof entry);
  EXPECT_EQ(parse(test).value().entry, entry);
}

TEST(Image, NotesOfOthersAreSkipped) {
  TestImage test;
  const std::vector<uint8_t> xen_notes = std::exchange(test.notes, {});
  const Elf64_Nhdr header{4, 8, XEN_ELFNOTE_ENTRY};
  append_bytes(test.notes, &header, sizeof header);
  append_bytes(test.notes, "GNU\0\1\2\3\4\5\6\7\10", 12);
  append_bytes(test.notes, xen_notes.data(), xen_notes.size());
  EXPECT_EQ(parse(test).value().entry, 0x4000'1000u);
}

TEST(Image, NoteSectionsCountWhenThereIsNoNoteSegment) {
  TestImage test;
  test.note.p_type = PT_NULL;
  test.note_section = true;
  EXPECT_EQ(parse(test).value().guest_os, "test-guest");
}

TEST(Image, LegacyGuestSectionIsUnderstood) {
  TestImage test;
  test.note.p_type = PT_NULL;
  test.guest_section = "GUEST_OS=old-guest,XEN_VER=xen-3.0,VIRT_BASE=0x40000000,HYPERCALL_PAGE=0x1,LOADER=generic";
  // ELF_PADDR_OFFSET is VIRT_BASE there.
  test.text.p_paddr += TestImage::kVirtualBase;
  test.data.p_paddr += TestImage::kVirtualBase;
  const Image image = parse(test).value();
  EXPECT_EQ(image.guest_os, "old-guest");
  EXPECT_EQ(image.segments[0].physical, 0u);
  EXPECT_EQ(image.hypercall_page, 0x4000'1000u);
}

TEST(Image, FixedAddressImageIsNotPositionIndependent) {
  TestImage test;
  test.header.e_type = ET_EXEC;
  EXPECT_FALSE(parse(test).value().position_independent);
}

TEST(Image, OnlyRelativeRelocationsArePositionIndependent) {
  TestImage test;
  test.relocations.push_back({TestImage::kVirtualBase, ELF64_R_INFO(0, R_X86_64_RELATIVE), 0});
  EXPECT_TRUE(parse(test).value().position_independent);
  test.relocations.push_back({TestImage::kVirtualBase, ELF64_R_INFO(1, R_X86_64_64), 0});
  EXPECT_FALSE(parse(test).value().position_independent);
}

struct BadImage {
  const char* name;
  std::function<void(TestImage&)> break_it;
  const char* error;
};

class BadImageTest : public testing::TestWithParam<BadImage> {};

TEST_P(BadImageTest, IsRefusedWithTheFileAndTheReason) {
  TestImage test;
  ASSERT_TRUE(parse(test));
  GetParam().break_it(test);
  const auto image = parse(test);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ENOEXEC);
  EXPECT_THAT(image.error().what, HasSubstr("kernel.elf: "));
  EXPECT_THAT(image.error().what, HasSubstr(GetParam().error));
}

const BadImage kBadImages[] = {
    {"NoElf", [](TestImage& i) { i.header.e_ident[1] = 'F'; }, "not an ELF file"},
    {"Class32", [](TestImage& i) { i.header.e_ident[EI_CLASS] = ELFCLASS32; }, "32-bit"},
    {"BigEndian", [](TestImage& i) { i.header.e_ident[EI_DATA] = ELFDATA2MSB; }, "big-endian"},
    {"OtherMachine", [](TestImage& i) { i.header.e_machine = EM_AARCH64; }, "built for AArch64"},
    {"UnknownMachine", [](TestImage& i) { i.header.e_machine = 0x1234; }, "machine type 4660"},
    {"ObjectFile", [](TestImage& i) { i.header.e_type = ET_REL; }, "ELF type 1"},
    {"NoProgramHeaders", [](TestImage& i) { i.header.e_phnum = 0; }, "no program headers"},
    {"TooManyProgramHeaders", [](TestImage& i) { i.header.e_phnum = PN_XNUM; }, "too many"},
    {"WrongProgramHeaderSize", [](TestImage& i) { i.header.e_phentsize = 32; }, "program headers of 32 bytes"},
    {"ProgramHeadersOutside", [](TestImage& i) { i.header.e_phoff = ~0ull - 8; },
     "truncated: the program header table"},
    {"MoreProgramHeadersThanFile", [](TestImage& i) { i.header.e_phnum = 60000; }, "truncated: the program header"},
    {"SectionHeadersOutside",
     [](TestImage& i) {
       i.header.e_shoff = 1ull << 63;
       i.header.e_shnum = 3;
     },
     "truncated: the section header table"},
    {"SegmentOutside", [](TestImage& i) { i.text.p_offset = 1ull << 40; }, "truncated: segment 0"},
    {"SegmentOffsetWraps", [](TestImage& i) { i.text.p_offset = ~0ull - 0x100; }, "truncated: segment 0"},
    {"MoreInFileThanInMemory", [](TestImage& i) { i.text.p_memsz = 0x17ff; }, "but only 6143 in memory"},
    {"SegmentsOverlap", [](TestImage& i) { i.data.p_paddr = 0x17ff; }, "segments overlap"},
    {"SegmentInsideOther", [](TestImage& i) { i.data.p_paddr = 0x10; }, "segments overlap"},
    {"MemorySizeWraps", [](TestImage& i) { i.data.p_memsz = ~0ull - 0x1000; }, "wraps around"},
    {"BelowPaddrOffset", [](TestImage& i) { i.add_note(XEN_ELFNOTE_PADDR_OFFSET, 0x1000); }, "below PADDR_OFFSET"},
    {"NothingToLoad",
     [](TestImage& i) {
       i.text.p_type = PT_NULL;
       i.data.p_memsz = i.data.p_filesz = 0;
     },
     "no segment to load"},
    {"NoNotes", [](TestImage& i) { i.notes.clear(); }, "no Xen notes"},
    {"NotesOfOthersOnly",
     [](TestImage& i) {
       i.notes.assign({1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 'G', 0, 0, 0});
     },
     "no Xen notes"},
    {"NoteSegmentOutside", [](TestImage& i) { i.note.p_filesz = 1 << 20; }, "truncated: the note segment"},
    {"NoteLongerThanItsSegment", [](TestImage& i) { i.notes[4] = 0xff; }, "bytes, but"},
    {"NoteOfHugeSize", [](TestImage& i) { std::memset(&i.notes[0], 0xff, 8); }, "bytes, but"},
    {"OtherLoader", [](TestImage& i) { i.add_text_note(XEN_ELFNOTE_LOADER, "special"); }, "loader 'special'"},
    {"OtherXen", [](TestImage& i) { i.add_text_note(XEN_ELFNOTE_XEN_VERSION, "xen-2.0"); }, "'xen-2.0'"},
    {"BaseNotOfAPage", [](TestImage& i) { i.add_note(XEN_ELFNOTE_VIRT_BASE, 0x4000'0010); }, "VIRT_BASE"},
    {"BaseInXensRange", [](TestImage& i) { i.add_note(XEN_ELFNOTE_VIRT_BASE, HYPERVISOR_VIRT_START); },
     "are not a guest's"},
    {"BaseNotCanonical", [](TestImage& i) { i.add_note(XEN_ELFNOTE_VIRT_BASE, 1ull << 50); }, "are not a guest's"},
    {"ReachesXensRange", [](TestImage& i) { i.add_note(XEN_ELFNOTE_VIRT_BASE, (1ull << 47) - 0x1000); },
     "are not a guest's"},
    {"AddressesWrap", [](TestImage& i) { i.add_note(XEN_ELFNOTE_VIRT_BASE, 0 - 0x2000ull); }, "are not a guest's"},
    {"EntryOutside", [](TestImage& i) { i.add_note(XEN_ELFNOTE_ENTRY, 0x4000'7000); }, "entry point"},
    {"EntryBelow", [](TestImage& i) { i.add_note(XEN_ELFNOTE_ENTRY, 0x3fff'ffff); }, "entry point"},
    {"HypercallPageOutside", [](TestImage& i) { i.add_note(XEN_ELFNOTE_HYPERCALL_PAGE, 0x4000'7000); },
     "hypercall page"},
    {"HypercallPageUnaligned", [](TestImage& i) { i.add_note(XEN_ELFNOTE_HYPERCALL_PAGE, 0x4000'0008); },
     "hypercall page"},
};

INSTANTIATE_TEST_SUITE_P(Rows, BadImageTest, testing::ValuesIn(kBadImages),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Image, PvhOnlyKernelIsNamedAsSuch) {
  TestImage test;
  test.notes.clear();
  test.add_note(XEN_ELFNOTE_PHYS32_ENTRY, 0x100'0000);
  EXPECT_THAT(parse(test).error().what, HasSubstr("PVH-only"));
}

TEST(Image, LegacySectionWithoutVirtBaseButWithOffsetIsRefused) {
  TestImage test;
  test.note.p_type = PT_NULL;
  test.guest_section = "XEN_VER=xen-3.0,LOADER=generic,ELF_PADDR_OFFSET=0x0";
  EXPECT_THAT(parse(test).error().what, HasSubstr("no VIRT_BASE"));
}

TEST(Image, EveryTruncationIsAnErrorAndNotAnAccident) {
  TestImage test;
  test.guest_section = "XEN_VER=xen-3.0";
  test.relocations.push_back({0, ELF64_R_INFO(0, R_X86_64_RELATIVE), 0});
  const std::vector<uint8_t> whole = test.bytes();
  ASSERT_TRUE(parse(whole));
  for (size_t size = 0; size < whole.size(); ++size) {
    // Its own allocation of that very size, so that AddressSanitizer sees an access behind it.
    const auto image = parse(std::vector<uint8_t>(whole.begin(), whole.begin() + static_cast<long>(size)));
    ASSERT_FALSE(image) << size;
    ASSERT_EQ(image.error().code, ENOEXEC) << size;
  }
}

TEST(Image, NoByteOfTheHeadersMakesTheParserStumble) {
  const std::vector<uint8_t> whole = TestImage().bytes();
  const size_t headers = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr) + TestImage().notes.size();
  for (size_t at = 0; at < headers; ++at) {
    for (const int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      std::vector<uint8_t> bytes = whole;
      bytes[at] = static_cast<uint8_t>(value);
      const auto image = parse(bytes);
      if (!image) continue;
      for (const Segment& segment : image->segments) {
        ASSERT_LE(segment.bytes.size(), segment.memory_size);
        ASSERT_LE(segment.physical + segment.memory_size, image->end);
        ASSERT_GE(segment.bytes.data(), image->file->data());
        ASSERT_LE(segment.bytes.data() + segment.bytes.size(), image->file->data() + image->file->size());
      }
    }
  }
}

TEST(Image, OtherFormatsAreRecognised) {
  EXPECT_THAT(parse(std::vector<uint8_t>{}).error().what, HasSubstr("empty"));
  EXPECT_THAT(parse(std::vector<uint8_t>{0x1f, 0x8b, 8, 0}).error().what, HasSubstr("gzip"));
  std::vector<uint8_t> bz_image(0x400);
  std::memcpy(&bz_image[0x202], "HdrS", 4);
  EXPECT_THAT(parse(bz_image).error().what, HasSubstr("bzImage"));
}

TEST(Image, LoadingNamesThePathThatFailed) {
  const auto missing = load_image("/nonexistent/kernel");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ENOENT);
  EXPECT_THAT(missing.error().what, HasSubstr("/nonexistent/kernel"));
  EXPECT_EQ(load_image("/dev/null").error().code, EINVAL);
  EXPECT_EQ(load_image("/").error().code, EINVAL);
}

TEST(Image, PvGrubOfDebianIsAccepted) {
  constexpr const char* kPath = "/usr/lib/grub-xen/grub-x86_64-xen.bin";
  if (access(kPath, R_OK) != 0) GTEST_SKIP() << kPath << " is missing: install grub-xen-host";
  const Image image = load_image(kPath).value();
  EXPECT_EQ(image.guest_os, "GRUB");
  EXPECT_EQ(image.virtual_base, 0u);
  EXPECT_EQ(image.segments.size(), 2u);
  EXPECT_FALSE(image.position_independent);
}

}  // namespace
}  // namespace xenopolis::builder
