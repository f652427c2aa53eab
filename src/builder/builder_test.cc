#include "builder/builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "builder/test_image.h"
#include "machine/machine.h"

namespace xenopolis::builder {
namespace {

using machine::kKiB;
using machine::kMiB;
using testing::HasSubstr;

constexpr uint64_t kPteMask = 0x000f'ffff'ffff'f000;
constexpr Gfn kSharedInfo = 0x12345;
constexpr uint64_t kLinuxBase = TestImage::kLinuxBase;
constexpr uint64_t kFrameList = TestImage::kLinuxFrameList;

class BuilderTest : public testing::Test {
 protected:
  BuilderTest() : machine_(machine::Machine::create(40 * machine::kGiB).value()) { give_memory(1024); }

  void give_memory(uint64_t pages) {
    memory_.extent = machine_.frames().allocate_extent(pages).value();
    memory_.ram_pages = pages;
  }

  static Image image(const TestImage& test = {}) { return parse_image("kernel.elf", test.file()).value(); }

  Result<BuiltDomain> build_with(const Image& kernel) { return build(kernel, memory_, kSharedInfo, config_); }

  // What the tables map `address` to; nullopt when it is not mapped. Checks the flags on the way.
  std::optional<uint64_t> translate(uint64_t table, uint64_t address) const {
    for (unsigned level = 4; level >= 1; --level) {
      const uint64_t index = (address >> (12 + 9 * (level - 1))) & 511;
      const uint64_t entry = reinterpret_cast<const uint64_t*>(memory_.ram_page(table >> kPageShift))[index];
      if ((entry & 1) == 0) return std::nullopt;
      EXPECT_EQ(entry & ~kPteMask, 0x67u) << "level " << level << " of " << address;
      table = entry & kPteMask;
    }
    return table + address % kPageSize;
  }

  // Host address of a virtual address of the initial mapping.
  const uint8_t* at(const BuiltDomain& built, uint64_t address) const {
    return memory_.extent.begin() + (address - built.virtual_base);
  }
  const start_info& info_of(const BuiltDomain& built) const {
    return *reinterpret_cast<const start_info*>(at(built, built.start_info));
  }

  static Image like_linux() {
    TestImage test;
    test.resemble_linux();
    return image(test);
  }

  uint64_t touched_pages() const {
    uint64_t touched = 0;
    for (Gfn gfn = 0; gfn < memory_.ram_pages; ++gfn) {
      const uint8_t* page = memory_.ram_page(gfn);
      touched += std::any_of(page, page + kPageSize, [](uint8_t byte) { return byte != 0; });
    }
    return touched;
  }

  machine::Machine machine_;
  machine::DomainMemory memory_;
  BuildConfig config_;
};

TEST_F(BuilderTest, SegmentsLieAtTheirAddressesAndTheRestOfThemIsZero) {
  const BuiltDomain built = build_with(image()).value();
  const uint8_t* base = memory_.extent.begin();
  EXPECT_EQ(std::count(base, base + 0x1800, 0x90), 0x1800);
  EXPECT_EQ(std::count(base + 0x1800, base + 0x2000, 0), 0x800);
  EXPECT_EQ(std::count(base + 0x2000, base + 0x2100, 0xda), 0x100);
  EXPECT_EQ(std::count(base + 0x2100, base + 0x7000, 0), 0x4f00);
  EXPECT_EQ(built.virtual_base, TestImage::kVirtualBase);
  EXPECT_EQ(built.entry, TestImage::kVirtualBase + 0x1000);
  EXPECT_EQ(built.hypercall_page, TestImage::kVirtualBase);
}

TEST_F(BuilderTest, BootstrapElementsFollowInXensOrder) {
  const std::vector<uint8_t> ramdisk(5000, 0xd1);
  config_.ramdisk = ramdisk;
  const BuiltDomain built = build_with(image()).value();
  const start_info& info = info_of(built);
  const uint64_t base = built.virtual_base;
  EXPECT_EQ(info.mod_start, base + 0x7000);
  EXPECT_EQ(info.mod_len, 5000u);
  EXPECT_EQ(std::count(at(built, info.mod_start), at(built, info.mod_start) + 5000, 0xd1), 5000);
  EXPECT_EQ(info.mfn_list, base + 0x9000);  // 1,024 frames: two pages
  EXPECT_EQ(built.start_info, base + 0xb000);
  EXPECT_EQ(built.store_gfn, 0xcu);
  EXPECT_EQ(built.console_gfn, 0xdu);
  EXPECT_EQ(info.pt_base, base + 0xe000);
  EXPECT_EQ(built.page_table_base, 0xe000u);
  EXPECT_EQ(info.nr_pt_frames, 5u);  // 4 MiB: L4, L3, L2 and two L1
  EXPECT_EQ(built.stack, base + 0xe000 + 5 * kPageSize + kPageSize);
}

TEST_F(BuilderTest, StartInfoSaysWhatXenSays) {
  config_.command_line = "name=citizen-7 beat=1";
  config_.store_port = 11;
  config_.console_port = 12;
  const start_info& info = info_of(build_with(image()).value());
  EXPECT_STREQ(info.magic, "xen-3.0-x86_64");
  EXPECT_EQ(info.nr_pages, 1024u);
  EXPECT_EQ(info.shared_info, kSharedInfo << 12);
  EXPECT_EQ(info.flags, 0u);
  EXPECT_EQ(info.store_evtchn, 11u);
  EXPECT_EQ(info.console.domU.evtchn, 12u);
  EXPECT_EQ(info.mod_start, 0u);
  EXPECT_EQ(info.mod_len, 0u);
  EXPECT_STREQ(reinterpret_cast<const char*>(info.cmd_line), "name=citizen-7 beat=1");
}

TEST_F(BuilderTest, FrameListIsTheIdentity) {
  const BuiltDomain built = build_with(image()).value();
  const auto* list = reinterpret_cast<const xen_pfn_t*>(at(built, info_of(built).mfn_list));
  for (uint64_t pfn = 0; pfn < memory_.ram_pages; ++pfn) ASSERT_EQ(list[pfn], pfn);
  EXPECT_EQ(info_of(built).nr_p2m_frames, 2u);
}

TEST_F(BuilderTest, RamdiskLiesBehindTheRegionIfTheKernelTakesItByFrame) {
  give_memory(4096);
  const std::vector<uint8_t> ramdisk(5 * kMiB + 1, 0xd1);
  config_.ramdisk = ramdisk;
  TestImage test;
  test.add_note(XEN_ELFNOTE_MOD_START_PFN, 1);
  const BuiltDomain built = build_with(image(test)).value();
  const start_info& info = info_of(built);
  EXPECT_EQ(info.flags, uint32_t{SIF_MOD_START_PFN});
  EXPECT_EQ(info.mod_start, 4 * kMiB / kPageSize);
  EXPECT_EQ(info.mod_len, ramdisk.size());
  EXPECT_EQ(std::memcmp(memory_.ram_page(info.mod_start), ramdisk.data(), ramdisk.size()), 0);
  EXPECT_EQ(info.mfn_list, built.virtual_base + 0x7000);
  EXPECT_FALSE(translate(built.page_table_base, built.virtual_base + 4 * kMiB));
}

TEST_F(BuilderTest, NoteThatSaysNoLeavesTheRamdiskMapped) {
  const std::vector<uint8_t> ramdisk(5000, 0xd1);
  config_.ramdisk = ramdisk;
  TestImage test;
  test.add_note(XEN_ELFNOTE_MOD_START_PFN, 0);
  const BuiltDomain built = build_with(image(test)).value();
  EXPECT_EQ(info_of(built).flags, 0u);
  EXPECT_EQ(info_of(built).mod_start, built.virtual_base + 0x7000);
}

TEST_F(BuilderTest, FrameListLiesWhereTheKernelWantsIt) {
  give_memory(512 * kKiB);  // 2 GiB: the list takes 4 MiB
  const std::vector<uint8_t> ramdisk(5000, 0xd1);
  config_.ramdisk = ramdisk;
  const BuiltDomain built = build_with(like_linux()).value();
  const start_info& info = info_of(built);
  EXPECT_EQ(info.mfn_list, kFrameList);
  EXPECT_EQ(info.first_p2m_pfn, info.mod_start + 2);
  EXPECT_EQ(info.nr_p2m_frames, 1024u + 2 + 1 + 1) << "with L1, L2 and L3 tables";
  EXPECT_EQ(info.nr_pt_frames, 5u);
  for (uint64_t page = 0; page < 1024; ++page) {
    const auto where = translate(built.page_table_base, kFrameList + page * kPageSize);
    ASSERT_EQ(where, (info.first_p2m_pfn + page) * kPageSize);
    const auto* list = reinterpret_cast<const xen_pfn_t*>(memory_.ram_page(*where / kPageSize));
    ASSERT_EQ(list[0], page * 512);
    ASSERT_EQ(list[511], page * 512 + 511);
  }
  EXPECT_FALSE(translate(built.page_table_base, kFrameList + 1024 * kPageSize));
  EXPECT_FALSE(translate(built.page_table_base, built.virtual_base + 4 * kMiB));
}

TEST_F(BuilderTest, FrameListThatCannotLieThereIsInTheRegion) {
  const uint64_t addresses[] = {0,
                                kFrameList + 1,            // not of a page
                                (1ull << 47) - kPageSize,  // two pages: into the hole
                                1ull << 47,                // not canonical
                                HYPERVISOR_VIRT_START,     // Xen's
                                HYPERVISOR_VIRT_END - kPageSize,
                                kLinuxBase - kPageSize,  // in the region's L4 entry
                                kLinuxBase,
                                0 - kPageSize};
  for (const uint64_t address : addresses) {
    give_memory(1024);
    TestImage test;
    test.move_to(kLinuxBase);
    test.add_note(XEN_ELFNOTE_INIT_P2M, address);
    const BuiltDomain built = build_with(image(test)).value();
    EXPECT_EQ(info_of(built).mfn_list, kLinuxBase + 0x7000) << std::hex << address;
    EXPECT_EQ(info_of(built).nr_p2m_frames, 2u);
  }
}

TEST_F(BuilderTest, PageTablesMapTheRegionAndNothingElse) {
  give_memory(4096);  // 16 MiB, of which the first 4 MiB are the initial region
  const BuiltDomain built = build_with(image()).value();
  for (uint64_t physical = 0; physical < 4 * kMiB; physical += kPageSize) {
    ASSERT_EQ(translate(built.page_table_base, built.virtual_base + physical), physical);
  }
  EXPECT_FALSE(translate(built.page_table_base, built.virtual_base + 4 * kMiB));
  EXPECT_FALSE(translate(built.page_table_base, built.virtual_base - 1));
  EXPECT_FALSE(translate(built.page_table_base, 0));
}

TEST_F(BuilderTest, RegionGrowsByFourMebibytesWhenLessThan512KibOfPaddingIsLeft) {
  give_memory(8192);
  TestImage test;
  // used: image + p2m (16 pages) + 3 + tables (5) + stack
  const uint64_t rest = (16 + 3 + 5 + 1) * kPageSize;
  test.data.p_memsz = 4 * kMiB - 512 * kKiB - rest - 0x2000;
  BuiltDomain built = build_with(image(test)).value();
  EXPECT_EQ(built.page_table_pages, 5u);
  EXPECT_FALSE(translate(built.page_table_base, built.virtual_base + 4 * kMiB));
  give_memory(8192);
  test.data.p_memsz += 1;
  built = build_with(image(test)).value();
  EXPECT_EQ(built.page_table_pages, 7u);
  EXPECT_EQ(translate(built.page_table_base, built.virtual_base + 8 * kMiB - 1), 8 * kMiB - 1);
  EXPECT_FALSE(translate(built.page_table_base, built.virtual_base + 8 * kMiB));
}

TEST_F(BuilderTest, RegionNeverReachesBeyondTheRam) {
  give_memory(64);
  const BuiltDomain built = build_with(image()).value();
  EXPECT_EQ(translate(built.page_table_base, built.virtual_base + 63 * kPageSize), 63 * kPageSize);
  EXPECT_FALSE(translate(built.page_table_base, built.virtual_base + 64 * kPageSize));
}

TEST_F(BuilderTest, BaseThatIsNoMultipleOfALargePageIsMappedToo) {
  TestImage test;
  const uint64_t base = (1ull << 39) - 3 * kPageSize;  // the third page ends an L4 entry
  test.move_to(base);
  const BuiltDomain built = build_with(image(test)).value();
  for (uint64_t physical = 0; physical < 2 * kMiB; physical += kPageSize) {
    ASSERT_EQ(translate(built.page_table_base, base + physical), physical);
  }
}

TEST_F(BuilderTest, LinuxBaseAtTheTopOfTheAddressSpaceWorks) {
  TestImage test;
  test.move_to(kLinuxBase);
  const BuiltDomain built = build_with(image(test)).value();
  EXPECT_EQ(translate(built.page_table_base, kLinuxBase + 0x1234), 0x1234u);
}

TEST_F(BuilderTest, RegionThatWouldWrapAroundIsRefused) {
  TestImage test;
  const uint64_t base = 0 - 0x8000ull;
  test.move_to(base);
  const auto built = build_with(image(test));
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ENOTSUP);
  EXPECT_EQ(touched_pages(), 0u);
}

TEST_F(BuilderTest, OnlyPagesWithContentsAreTouched) {
  build_with(image()).value();
  // text 2, data 1, frame list 2, start_info 1, tables 5
  EXPECT_EQ(touched_pages(), 11u);
}

TEST_F(BuilderTest, FlatDomainRunsAtItsExtentWithoutTables) {
  config_.flat = true;
  config_.flat_base = reinterpret_cast<uint64_t>(memory_.extent.begin());
  const std::vector<uint8_t> ramdisk(100, 0xd1);
  config_.ramdisk = ramdisk;
  const BuiltDomain built = build_with(image()).value();
  EXPECT_EQ(built.virtual_base, config_.flat_base);
  EXPECT_EQ(built.entry, config_.flat_base + 0x1000);
  EXPECT_EQ(built.hypercall_page, config_.flat_base);
  EXPECT_EQ(built.page_table_base, 0u);
  EXPECT_EQ(built.page_table_pages, 0u);
  const auto& info = *reinterpret_cast<const start_info*>(built.start_info);
  EXPECT_STREQ(info.magic, "xen-3.0-x86_64");
  EXPECT_EQ(info.pt_base, 0u);
  EXPECT_EQ(info.nr_pt_frames, 0u);
  EXPECT_EQ(info.mfn_list, 0u);
  EXPECT_EQ(info.mod_start, config_.flat_base + 0x7000);
  EXPECT_EQ(info.store_mfn, built.store_gfn);
  EXPECT_GT(built.stack, built.start_info);
  EXPECT_LE(built.stack, config_.flat_base + 4 * kMiB);
  EXPECT_EQ(built.stack % kPageSize, 0u);
}

TEST_F(BuilderTest, FlatNeedsAPositionIndependentImage) {
  config_.flat = true;
  TestImage test;
  test.header.e_type = ET_EXEC;
  const auto built = build_with(image(test));
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ENOTSUP);
  EXPECT_THAT(built.error().what, HasSubstr("hosted backend needs a position-independent image"));
}

TEST_F(BuilderTest, CommandLineOfExactlyTheLimitFitsAndOneMoreIsRefused) {
  config_.command_line.assign(MAX_GUEST_CMDLINE - 1, 'x');
  const BuiltDomain built = build_with(image()).value();
  const start_info& info = info_of(built);
  EXPECT_EQ(strnlen(reinterpret_cast<const char*>(info.cmd_line), MAX_GUEST_CMDLINE), MAX_GUEST_CMDLINE - 1u);
  EXPECT_NE(info.first_p2m_pfn, 0u);
  config_.command_line += 'x';
  const auto refused = build_with(image());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EFBIG);
  EXPECT_THAT(refused.error().what, HasSubstr("holds 1023"));
}

TEST_F(BuilderTest, CommandLineWithANulIsRefused) {
  config_.command_line = std::string("a\0b", 3);
  EXPECT_EQ(build_with(image()).error().code, EINVAL);
}

TEST_F(BuilderTest, ImageThatDoesNotFitIsRefusedWithSizesAndNothingIsWritten) {
  TestImage test;
  test.data.p_memsz = 5 * kMiB;
  auto built = build_with(image(test));
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, EFBIG);
  EXPECT_THAT(built.error().what, HasSubstr("4096 KiB of memory"));
  EXPECT_THAT(built.error().what, HasSubstr("image 5128 KiB"));
  EXPECT_THAT(built.error().what, HasSubstr("give the domain 6 MiB"));
  // The image alone would fit, but not with what follows it.
  test.data.p_memsz = 4 * kMiB - 0x2000;
  built = build_with(image(test));
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, EFBIG);
  test.data.p_memsz = 1ull << 46;
  EXPECT_EQ(build_with(image(test)).error().code, EFBIG);
  EXPECT_EQ(touched_pages(), 0u);
}

TEST_F(BuilderTest, AdvisedMemoryIsEnough) {
  TestImage test;
  // From sizes that leave plenty in the last MiB to sizes that leave nothing.
  for (uint64_t size = 5 * kMiB; size <= 6 * kMiB; size += 64 * kKiB) {
    test.data.p_memsz = size - 0x2000;
    give_memory(1024);
    const auto refused = build_with(image(test));
    ASSERT_FALSE(refused);
    const std::string& text = refused.error().what;
    const uint64_t advised_mib = std::stoull(text.substr(text.find("give the domain ") + 16));
    ASSERT_LE(advised_mib, 7u);
    give_memory(advised_mib * kMiB / kPageSize);
    ASSERT_TRUE(build_with(image(test))) << size;
  }
}

TEST_F(BuilderTest, AdvisedMemoryIsEnoughForWhatLiesBehindTheRegion) {
  const Image kernel = like_linux();
  for (uint64_t size = 4 * kMiB; size <= 5 * kMiB; size += 64 * kKiB) {
    const std::vector<uint8_t> ramdisk(size, 0xd1);
    config_.ramdisk = ramdisk;
    give_memory(1024);
    const auto refused = build_with(kernel);
    ASSERT_FALSE(refused);
    const std::string& text = refused.error().what;
    const uint64_t advised_mib = std::stoull(text.substr(text.find("give the domain ") + 16));
    ASSERT_LE(advised_mib, 6u);
    give_memory(advised_mib * kMiB / kPageSize);
    const auto built = build_with(kernel);
    ASSERT_TRUE(built) << size;
    const start_info& info = info_of(*built);
    ASSERT_GE(info.mod_start, (built->stack - built->virtual_base) / kPageSize);
    ASSERT_LE(info.first_p2m_pfn + info.nr_p2m_frames, memory_.ram_pages);
    ASSERT_FALSE(translate(built->page_table_base, built->virtual_base + info.mod_start * kPageSize));
  }
}

TEST_F(BuilderTest, RamdiskThatDoesNotFitIsRefused) {
  const std::vector<uint8_t> ramdisk(4 * kMiB, 1);
  config_.ramdisk = ramdisk;
  const auto built = build_with(image());
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, EFBIG);
  EXPECT_THAT(built.error().what, HasSubstr("ramdisk 4096 KiB"));
}

TEST_F(BuilderTest, EveryMemorySizeEitherWorksOrIsTooSmall) {
  const std::vector<uint8_t> ramdisk(5000, 0xd1);
  config_.ramdisk = ramdisk;
  for (const Image& kernel : {image(), like_linux()}) {
    bool worked = false;
    for (uint64_t pages = 1; pages < 64; ++pages) {
      give_memory(pages);
      const auto built = build_with(kernel);
      if (!built) {
        ASSERT_FALSE(worked) << "works with less than " << pages << " pages";
        ASSERT_EQ(built.error().code, EFBIG);
        continue;
      }
      worked = true;
      ASSERT_LE(built->stack - built->virtual_base, pages * kPageSize);
      ASSERT_EQ(translate(built->page_table_base, built->stack - 1), built->stack - 1 - built->virtual_base);
    }
    EXPECT_TRUE(worked);
  }
}

TEST_F(BuilderTest, PvGrubOfDebianBuilds) {
  constexpr const char* kPath = "/usr/lib/grub-xen/grub-x86_64-xen.bin";
  if (access(kPath, R_OK) != 0) GTEST_SKIP() << kPath << " is missing: install grub-xen-host";
  const Image grub = load_image(kPath).value();
  EXPECT_EQ(build_with(grub).error().code, EFBIG);
  give_memory(16 * kMiB / kPageSize);
  const BuiltDomain built = build_with(grub).value();
  EXPECT_EQ(built.entry, 0u);
  EXPECT_EQ(translate(built.page_table_base, 0x1000), 0x1000u);
  EXPECT_EQ(translate(built.page_table_base, 8 * kMiB - 1), 8 * kMiB - 1);
  EXPECT_EQ(std::memcmp(memory_.ram_page(0), grub.segments[0].bytes.data(), grub.segments[0].bytes.size()), 0);
}

}  // namespace
}  // namespace xenopolis::builder
