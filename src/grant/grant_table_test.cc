#include "grant/grant_table.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "machine/domain_memory.h"

namespace xenopolis::grant {
namespace {

constexpr DomId kGuest = 3;
constexpr uint64_t kRamPages = 64;
constexpr uint32_t kMaxFrames = 8;

class GrantTest : public testing::Test {
 protected:
  GrantTest() {
    machine::DomainMemory& memory = machine::memory_of(kGuest);
    memory.extent = machine_.frames().allocate_extent(kRamPages + kMaxFrames).value();
    memory.ram_pages = kRamPages;
    grants_.create_domain(kGuest, kRamPages, kMaxFrames);
  }

  // As the guest sees it.
  grant_entry_v1_t& entry(grant_ref_t reference) {
    return reinterpret_cast<grant_entry_v1_t*>(machine::memory_of(kGuest).page(kRamPages))[reference];
  }
  void offer(grant_ref_t reference, uint32_t frame, unsigned flags = GTF_permit_access, DomId to = kDom0) {
    entry(reference).domid = to;
    entry(reference).frame = frame;
    entry(reference).flags = static_cast<uint16_t>(flags);
  }
  int16_t map(grant_ref_t reference, bool read_only = false) {
    page_ = nullptr;
    return grants_.map(kDom0, kGuest, reference, read_only, &page_);
  }
  int16_t unmap(grant_ref_t reference, bool read_only = false) {
    return grants_.unmap(kDom0, kGuest, reference, read_only);
  }
  void* ram(Gfn gfn) { return machine::memory_of(kGuest).page(gfn); }

  machine::Machine machine_ = machine::Machine::create(40 * machine::kGiB).value();
  GrantTables grants_{machine_};
  void* page_ = nullptr;
};

TEST_F(GrantTest, GuestSeesThatItsGrantIsInUseUntilItIsUnmapped) {
  offer(8, 5);
  ASSERT_EQ(map(8), GNTST_okay);
  EXPECT_EQ(page_, ram(5));
  EXPECT_EQ(entry(8).flags, GTF_permit_access | GTF_reading | GTF_writing);
  EXPECT_EQ(unmap(8), GNTST_okay);
  EXPECT_EQ(entry(8).flags, GTF_permit_access);
  EXPECT_EQ(unmap(8), GNTST_bad_handle);
}

TEST_F(GrantTest, MappingsNest) {
  offer(8, 5);
  ASSERT_EQ(map(8, true), GNTST_okay);
  EXPECT_EQ(entry(8).flags, GTF_permit_access | GTF_reading);
  ASSERT_EQ(map(8), GNTST_okay);
  ASSERT_EQ(map(8), GNTST_okay);
  EXPECT_EQ(grants_.mappings(kGuest), 3u);
  EXPECT_EQ(unmap(8), GNTST_okay);
  EXPECT_EQ(entry(8).flags, GTF_permit_access | GTF_reading | GTF_writing);
  EXPECT_EQ(unmap(8), GNTST_okay);
  EXPECT_EQ(entry(8).flags, GTF_permit_access | GTF_reading);
  EXPECT_EQ(unmap(8, true), GNTST_okay);
  EXPECT_EQ(entry(8).flags, GTF_permit_access);
  EXPECT_EQ(grants_.mappings(kGuest), 0u);
}

TEST_F(GrantTest, OnlyWhatIsOfferedCanBeMapped) {
  struct Row {
    unsigned flags;
    DomId to;
    uint32_t frame;
    bool read_only;
    int16_t status;
  };
  for (const Row& row : {Row{GTF_invalid, kDom0, 5, false, GNTST_general_error},
                         Row{GTF_accept_transfer, kDom0, 5, false, GNTST_general_error},
                         Row{GTF_transitive, kDom0, 5, false, GNTST_general_error},
                         Row{GTF_permit_access | GTF_sub_page, kDom0, 5, false, GNTST_general_error},
                         Row{GTF_permit_access, 4, 5, false, GNTST_general_error},
                         Row{GTF_permit_access, DOMID_SELF, 5, false, GNTST_general_error},
                         Row{GTF_permit_access | GTF_readonly, kDom0, 5, false, GNTST_general_error},
                         Row{GTF_permit_access | GTF_readonly, kDom0, 5, true, GNTST_okay},
                         Row{GTF_permit_access, kDom0, kRamPages, false, GNTST_general_error},
                         Row{GTF_permit_access, kDom0, kRamPages, true, GNTST_general_error},
                         Row{GTF_permit_access, kDom0, ~0u, false, GNTST_general_error},
                         Row{GTF_permit_access, kDom0, kRamPages - 1, false, GNTST_okay}}) {
    offer(9, row.frame, row.flags, row.to);
    EXPECT_EQ(map(9, row.read_only), row.status) << row.flags << " to " << row.to << " frame " << row.frame;
    if (row.status == GNTST_okay) {
      EXPECT_EQ(unmap(9, row.read_only), GNTST_okay);
    } else {
      EXPECT_EQ(page_, nullptr);
    }
    EXPECT_EQ(entry(9).flags, row.flags) << "a refused grant is left as it was";
  }
}

TEST_F(GrantTest, WritableMappingOfAGrantInUseReadOnlyNeedsLeave) {
  offer(8, 5, GTF_permit_access | GTF_readonly);
  ASSERT_EQ(map(8, true), GNTST_okay);
  EXPECT_EQ(map(8, false), GNTST_general_error);
  EXPECT_EQ(entry(8).flags, GTF_permit_access | GTF_readonly | GTF_reading);
}

TEST_F(GrantTest, EntryThatChangesWhileInUseChangesNothing) {
  offer(8, 5);
  ASSERT_EQ(map(8), GNTST_okay);
  offer(8, 6, GTF_invalid, 99);
  ASSERT_EQ(map(8), GNTST_okay);
  EXPECT_EQ(page_, ram(5));
  EXPECT_EQ(unmap(8), GNTST_okay);
  EXPECT_EQ(unmap(8), GNTST_okay);
  EXPECT_EQ(map(8), GNTST_general_error);
}

TEST_F(GrantTest, ForgedUseFlagsDoNotCount) {
  offer(8, 5, GTF_permit_access | GTF_reading | GTF_writing);
  EXPECT_EQ(unmap(8), GNTST_bad_handle);
  EXPECT_EQ(map(8), GNTST_okay);
}

TEST_F(GrantTest, ReferencesBeyondTheTableAreRefused) {
  EXPECT_EQ(map(kEntriesPerFrame), GNTST_bad_gntref);
  EXPECT_EQ(map(~0u), GNTST_bad_gntref);
  EXPECT_EQ(unmap(~0u), GNTST_bad_gntref);
  uint64_t gfns[kMaxFrames];
  ASSERT_EQ(grants_.setup_table(kGuest, 2, gfns), GNTST_okay);
  offer(kEntriesPerFrame, 5);
  EXPECT_EQ(map(kEntriesPerFrame), GNTST_okay);
}

TEST_F(GrantTest, MappingsOfOneGrantAreBounded) {
  offer(8, 5);
  for (unsigned i = 0; i < kMaxMappings; ++i) ASSERT_EQ(map(8), GNTST_okay);
  EXPECT_EQ(map(8), GNTST_general_error);
  EXPECT_EQ(map(8, true), GNTST_okay);
  EXPECT_EQ(unmap(8), GNTST_okay);
  EXPECT_EQ(map(8), GNTST_okay);
}

TEST_F(GrantTest, TableGrowsToItsLimitAndNeverShrinks) {
  uint64_t gfns[kMaxFrames + 1] = {};
  EXPECT_EQ(grants_.frames(kGuest), 1u);
  EXPECT_EQ(grants_.setup_table(kGuest, kMaxFrames, gfns), GNTST_okay);
  for (uint32_t i = 0; i < kMaxFrames; ++i) EXPECT_EQ(gfns[i], kRamPages + i);
  EXPECT_EQ(grants_.setup_table(kGuest, 1, gfns), GNTST_okay);
  EXPECT_EQ(grants_.frames(kGuest), kMaxFrames);
  EXPECT_EQ(grants_.setup_table(kGuest, kMaxFrames + 1, gfns), GNTST_general_error);
  EXPECT_EQ(grants_.setup_table(kGuest, ~0u, gfns), GNTST_general_error);
}

TEST_F(GrantTest, OnlyDom0MapsAndOnlyWhatExists) {
  offer(8, 5, GTF_permit_access, kGuest);
  EXPECT_EQ(grants_.map(kGuest, kGuest, 8, false, &page_), GNTST_permission_denied);
  EXPECT_EQ(grants_.unmap(kGuest, kGuest, 8, false), GNTST_permission_denied);
  EXPECT_EQ(grants_.map(kDom0, 4, 8, false, &page_), GNTST_bad_domain);
  EXPECT_EQ(grants_.map(kDom0, 0xffff, 8, false, &page_), GNTST_bad_domain);
  EXPECT_EQ(grants_.frames(4), 0u);
}

TEST_F(GrantTest, DestroyingRevokesAndLeaksNothing) {
  const uint64_t pages = machine_.frames().used_pages();
  offer(8, 5);
  ASSERT_EQ(map(8), GNTST_okay);
  grants_.destroy_domain(kGuest);
  EXPECT_EQ(machine_.frames().used_pages(), pages);
  EXPECT_EQ(map(8), GNTST_bad_domain);
  EXPECT_EQ(unmap(8), GNTST_bad_domain);
  EXPECT_EQ(grants_.mappings(kGuest), 0u);

  grants_.create_domain(kGuest, kRamPages, kMaxFrames);
  EXPECT_EQ(unmap(8), GNTST_bad_handle);
  EXPECT_EQ(map(8), GNTST_okay);
}

TEST_F(GrantTest, GuestThatKeepsChangingItsEntryGetsNobodyElsesPage) {
  std::atomic<bool> stop = false;
  offer(8, 5);
  std::thread guest([&] {
    auto* header = reinterpret_cast<uint32_t*>(&entry(8));
    for (uint32_t i = 0; !stop; ++i) {
      // Long enough for some mappings to succeed, short enough to hit others in the middle.
      for (uint32_t pause = 0; pause < i % 256; ++pause) __builtin_ia32_pause();
      __atomic_store_n(header, i % 3 == 0 ? GTF_permit_access : i * 0x9e3779b9u, __ATOMIC_RELAXED);
      __atomic_store_n(&entry(8).frame, i % 2 == 0 ? 5u : 5000u, __ATOMIC_RELAXED);
    }
  });
  unsigned mapped = 0;
  for (unsigned i = 0; i < 1'000'000 && mapped < 1000; ++i) {
    if (map(8) != GNTST_okay) continue;
    ++mapped;
    ASSERT_EQ(page_, ram(5));
    ASSERT_EQ(unmap(8), GNTST_okay);
  }
  stop = true;
  guest.join();
  EXPECT_GT(mapped, 0u);
}

}  // namespace
}  // namespace xenopolis::grant
