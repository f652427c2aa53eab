// The guest sees its page tables as the MMU hypercalls leave them, shadow page tables or not.
#include "vcpu/kvm/page_tables.h"

#include <cstring>
#include <random>

#include "vcpu/kvm/cpu_bits.h"
#include "vcpu/kvm/test_domain.h"

namespace xenopolis::vcpu::kvm {
namespace {

constexpr uint64_t kFlags = kPtePresent | kPteWritable | kPteUser | kPteAccessed | kPteDirty;
constexpr Gfn kFrames = 16;     // targets: gfn kFree + i, whose first word says i
constexpr Gfn kWindow = 0x100;  // virtual pages kBase + kWindow + i

// Guest code that reads the word at each of RBX.. and calls the hypervisor with it in R9.
Code reader() {
  Code code;
  code.bytes({0x4c, 0x8b, 0x0b});  // again: mov (%rbx),%r9
  code.hypercall(1);
  code.bytes({0xeb, static_cast<int>(0x100 - (3 + 12 + 2))});  // jmp again
  return code;
}

class PageTablesTest : public testing::Test {
 protected:
  void start() {
    for (Gfn i = 0; i < kFrames; ++i) domain_.words(TestDomain::kFree + i)[0] = i;
    domain_.start(reader());
  }
  hypercall::Mmu& mmu() { return *domain_.vcpu->mmu(); }
  static uint64_t va(uint64_t page) { return TestDomain::address(kWindow + page); }
  static uint64_t entry(Gfn frame, uint64_t flags = kFlags) {
    return (TestDomain::kFree + frame) << kPageShift | flags;
  }

  // What the guest finds at `address`; nothing: a page fault.
  std::optional<uint64_t> read(uint64_t address) {
    domain_.state.registers.rbx = address;
    domain_.state.registers.rip = TestDomain::address(TestDomain::kCode);
    domain_.state.registers.rsp = TestDomain::address(TestDomain::kStackTop);
    const Exit exit = domain_.run();
    if (exit.reason == ExitReason::kHypercall) return domain_.state.registers.r9;
    EXPECT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
    EXPECT_EQ(exit.vector, kVectorPageFault);
    EXPECT_EQ(exit.fault_address, address);
    return std::nullopt;
  }

  TestDomain domain_;
};

TEST_F(PageTablesTest, UpdateVaMappingIsVisibleAtOnce) {
  SKIP_WITHOUT_KVM();
  start();
  ASSERT_TRUE(mmu().update_va_mapping(va(0), entry(3)));
  EXPECT_EQ(read(va(0)), 3u);
  ASSERT_TRUE(mmu().update_va_mapping(va(0), entry(4)));
  EXPECT_EQ(read(va(0)), 4u);
  ASSERT_TRUE(mmu().update_va_mapping(va(0), 0));
  EXPECT_EQ(read(va(0)), std::nullopt);
  ASSERT_TRUE(mmu().update_va_mapping(va(0), entry(5)));
  EXPECT_EQ(read(va(0)), 5u);
}

// Random changes by every way there is, a model beside them, and reads through the guest in between.
TEST_F(PageTablesTest, RandomRemapsAreWhatTheGuestReads) {
  SKIP_WITHOUT_KVM();
  start();
  std::mt19937 random(4711);
  const auto below = [&](uint64_t limit) { return static_cast<uint64_t>(random() % limit); };
  constexpr uint64_t kPages = 8;
  std::optional<uint64_t> model[kPages];
  for (uint64_t page = 0; page < kPages; ++page) ASSERT_TRUE(mmu().update_va_mapping(va(page), 0));
  for (int round = 0; round < 3000; ++round) {
    const uint64_t page = below(kPages), frame = below(kFrames);
    const uint64_t where = TestDomain::l1_entry_of(va(page));
    switch (below(6)) {
      case 0:
        ASSERT_TRUE(mmu().update_va_mapping(va(page), 0));
        model[page].reset();
        break;
      case 1:
        ASSERT_TRUE(mmu().write_entry(where, entry(frame), false));
        model[page] = frame;
        break;
      case 2:  // without the user bit, as kernels write it
        ASSERT_TRUE(mmu().write_entry(where, entry(frame, kPtePresent), true));
        model[page] = frame;
        break;
      case 3:
        ASSERT_TRUE(mmu().update_va_mapping(va(page), entry(frame, kPtePresent | kPteNoExecute)));
        model[page] = frame;
        break;
      case 4:
        mmu().flush_tlb();
        break;
      default: {
        const uint64_t other = below(kPages);
        ASSERT_EQ(read(va(other)), model[other]) << "round " << round << ", page " << other;
        break;
      }
    }
  }
}

// The same with the guest's own writes to its tables, which only a flush makes visible.
TEST_F(PageTablesTest, FlushShowsWhatTheGuestHasWrittenToItsTables) {
  SKIP_WITHOUT_KVM();
  Code code;
  code.bytes({0x49, 0x89, 0x0a});  // mov %rcx,(%r10)
  code.hypercall(1);
  code.bytes({0x4c, 0x8b, 0x0b});  // mov (%rbx),%r9
  code.hypercall(2);
  code.bytes({0xeb, static_cast<int>(0x100 - (3 + 12 + 3 + 12 + 2))});
  for (Gfn i = 0; i < kFrames; ++i) domain_.words(TestDomain::kFree + i)[0] = i;
  domain_.start(code);
  std::mt19937 random(42);
  for (int round = 0; round < 500; ++round) {
    const uint64_t page = random() % 4, frame = random() % kFrames;
    domain_.state.registers.r10 = TestDomain::kBase + TestDomain::l1_entry_of(va(page));
    domain_.state.registers.rcx = entry(frame);
    domain_.state.registers.rbx = va(page);
    Exit exit = domain_.run();
    ASSERT_EQ(exit.reason, ExitReason::kHypercall) << exit.failure;
    mmu().flush_tlb();
    exit = domain_.run();
    ASSERT_EQ(exit.reason, ExitReason::kHypercall) << exit.failure;
    ASSERT_EQ(domain_.state.registers.r9, frame) << "round " << round;
  }
}

TEST_F(PageTablesTest, MoreUpdatesThanTheQueueHolds) {
  SKIP_WITHOUT_KVM();
  start();
  for (uint64_t page = 0; page < 64; ++page) EXPECT_EQ(read(va(page)), 0u);  // KVM knows all the old entries
  for (uint64_t i = 0; i < 3 * HypervisorArea::kQueueLength + 5; ++i) {
    ASSERT_TRUE(mmu().update_va_mapping(va(i % 64), entry(i % kFrames)));
  }
  for (uint64_t page = 0; page < 64; ++page) {
    uint64_t last = 3 * HypervisorArea::kQueueLength + 4;
    while (last % 64 != page) --last;
    EXPECT_EQ(read(va(page)), last % kFrames);
  }
}

// A kernel's own page-table page is mapped read-only, as Xen demands, and it writes there all the same.
TEST_F(PageTablesTest, WritesToReadOnlyTablesAreEmulated) {
  SKIP_WITHOUT_KVM();
  Code code;
  const auto back_to_host = [&] { code.hypercall(1); };
  code.bytes({0x48, 0x89, 0x0b});  // mov %rcx,(%rbx)
  back_to_host();
  code.bytes({0x48, 0x87, 0x0b});  // xchg %rcx,(%rbx)
  back_to_host();
  code.bytes({0xf0, 0x80, 0x23, 0xfd});  // lock andb $0xfd,(%rbx)
  back_to_host();
  code.bytes({0xf0, 0x48, 0x0f, 0xb1, 0x0b});  // lock cmpxchg %rcx,(%rbx)
  back_to_host();
  code.bytes({0xf0, 0x48, 0x0f, 0xba, 0x33, 0x05});  // lock btr $5,(%rbx)
  back_to_host();
  code.bytes({0x0f, 0xc7, 0x0b});  // cmpxchg8b (%rbx): not emulated
  domain_.start(code);
  const uint64_t table = TestDomain::address(TestDomain::kL1);
  ASSERT_TRUE(mmu().update_va_mapping(table, TestDomain::kL1 << kPageShift | (kFlags & ~kPteWritable)));
  domain::Registers& registers = domain_.state.registers;
  const uint64_t* word = domain_.words(TestDomain::kL1) + kWindow;
  const auto expect_call = [&] {
    const Exit exit = domain_.run();
    ASSERT_EQ(exit.reason, ExitReason::kHypercall) << exit.failure << " vector " << int{exit.vector};
  };
  registers.rbx = table + kWindow * 8;
  registers.rcx = entry(1, kPtePresent | kPteWritable);
  expect_call();
  EXPECT_EQ(*word, entry(1, kPtePresent | kPteWritable | kPteUser));
  registers.rcx = entry(2);
  expect_call();
  EXPECT_EQ(*word, entry(2));
  EXPECT_EQ(registers.rcx, entry(1, kPtePresent | kPteWritable | kPteUser));
  expect_call();
  EXPECT_EQ(*word, entry(2, kFlags & ~kPteWritable));
  registers.rax = *word;
  registers.rcx = entry(7);
  expect_call();
  EXPECT_EQ(*word, entry(7));
  EXPECT_TRUE(registers.rflags & kFlagZero);
  expect_call();
  EXPECT_EQ(*word, entry(7, kFlags & ~kPteAccessed));
  EXPECT_TRUE(registers.rflags & kFlagCarry);
  const Exit exit = domain_.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorPageFault);
  EXPECT_EQ(exit.error_code, kFaultPresent | kFaultWrite);
}

TEST_F(PageTablesTest, NewBaseTablesGetTheHypervisorsSlotsAndUserBits) {
  SKIP_WITHOUT_KVM();
  start();
  constexpr Gfn kNewL4 = 0x46, kNewL3 = 0x47;
  memcpy(domain_.words(kNewL4), domain_.words(TestDomain::kL4), kPageSize);
  memcpy(domain_.words(kNewL3), domain_.words(TestDomain::kL3), kPageSize);
  domain_.words(kNewL4)[256] = domain_.words(kNewL4)[257] = 0;
  domain_.words(kNewL4)[index_of(TestDomain::kBase, 4)] = kNewL3 << kPageShift | (kFlags & ~kPteUser);
  domain_.words(kNewL3)[index_of(TestDomain::kBase, 3)] &= ~kPteUser;
  ASSERT_TRUE(mmu().new_kernel_base(kNewL4));
  EXPECT_EQ(domain_.state.kernel_cr3, kNewL4 << kPageShift);
  ASSERT_TRUE(mmu().update_va_mapping(va(0), entry(9)));
  EXPECT_EQ(read(va(0)), 9u);
  // A level-4 table has no place for the guest in these slots.
  EXPECT_FALSE(mmu().write_entry((kNewL4 << kPageShift) + 256 * 8, 0, false));
  EXPECT_FALSE(mmu().write_entry((kNewL4 << kPageShift) + 271 * 8, 0, false));
}

// Two base tables in turn, changes in between: a switch must not show what was before.
TEST_F(PageTablesTest, RemapsBetweenSwitchesOfTheBaseTable) {
  SKIP_WITHOUT_KVM();
  start();
  constexpr Gfn kOtherL4 = 0x46;
  memcpy(domain_.words(kOtherL4), domain_.words(TestDomain::kL4), kPageSize);
  std::mt19937 random(99);
  for (int round = 0; round < 300; ++round) {
    const uint64_t frame = random() % kFrames;
    ASSERT_TRUE(mmu().write_entry(TestDomain::l1_entry_of(va(1)), entry(frame), false));
    if (random() % 2 == 0) {
      ASSERT_TRUE(mmu().new_kernel_base(random() % 2 == 0 ? kOtherL4 : TestDomain::kL4));
    }
    ASSERT_EQ(read(va(1)), frame) << "round " << round;
  }
}

TEST_F(PageTablesTest, RefusesWhatIsNotTheDomains) {
  SKIP_WITHOUT_KVM();
  start();
  const uint64_t where = TestDomain::l1_entry_of(va(0));
  EXPECT_FALSE(mmu().write_entry(where + 1, entry(0), false));
  EXPECT_FALSE(mmu().write_entry(TestDomain::kRamPages << kPageShift, entry(0), false));
  EXPECT_FALSE(mmu().write_entry(where, domain_.memory.extent.pages << kPageShift | kFlags, false));
  EXPECT_FALSE(mmu().write_entry(~0ull << 3, entry(0), false));
  EXPECT_FALSE(mmu().update_va_mapping(0x1000, entry(0)));
  EXPECT_FALSE(mmu().update_va_mapping(pv_layout::kSupervisorBase, entry(0)));
  EXPECT_FALSE(mmu().pin(TestDomain::kRamPages, 1));
  EXPECT_FALSE(mmu().pin(TestDomain::kL4, 5));
  EXPECT_FALSE(mmu().new_kernel_base(TestDomain::kRamPages));
  EXPECT_FALSE(mmu().set_m2p(TestDomain::kRamPages, 1));
  const Gfn outside = TestDomain::kRamPages;
  EXPECT_FALSE(mmu().set_gdt(&outside, 1));
  EXPECT_EQ(read(TestDomain::address(TestDomain::kFree + 5)), 5u);
}

// A table whose entries lead to itself is a table of each level in turn, so that each look at it finds it new.
TEST_F(PageTablesTest, OneHypercallVisitsSoManyTablesHoweverManyEntriesItWrites) {
  SKIP_WITHOUT_KVM();
  start();
  const Gfn loop = TestDomain::kFree;
  for (uint64_t i = 0; i < kEntriesPerTable; ++i) domain_.words(loop)[i] = entry(0);
  const uint64_t where = (TestDomain::kL4 << kPageShift) + 8;
  const auto writes = [&] {
    unsigned done = 0;
    while (done < hypercall::kWorkLimit && mmu().write_entry(where, entry(0), false)) ++done;
    return done;
  };
  EXPECT_LT(writes(), 10u);
  EXPECT_EQ(writes(), 0u);
  // The next hypercall has as many.
  EXPECT_EQ(read(TestDomain::address(TestDomain::kFree + 1)), 1u);
  EXPECT_GT(writes(), 0u);
}

TEST_F(PageTablesTest, GuestMemoryIsWhatTheKernelsTablesMap) {
  SKIP_WITHOUT_KVM();
  start();
  hypercall::GuestMemory& memory = domain_.vcpu->memory();
  ASSERT_TRUE(mmu().update_va_mapping(va(0), entry(0)));
  ASSERT_TRUE(mmu().update_va_mapping(va(1), entry(8)));
  ASSERT_TRUE(mmu().update_va_mapping(va(2), 0));
  uint64_t value = 0x1111222233334444;
  ASSERT_TRUE(memory.write(va(1) - 4, value));
  EXPECT_EQ(domain_.words(TestDomain::kFree + 8)[0] & 0xffffffff, 0x11112222u);
  value = 0;
  ASSERT_TRUE(memory.read(va(1) - 4, value));
  EXPECT_EQ(value, 0x1111222233334444u);
  EXPECT_FALSE(memory.read(va(2) - 4, value));
  EXPECT_FALSE(memory.read(pv_layout::kM2pStart, value)) << "the hypervisor's slots are no guest memory";
  EXPECT_FALSE(memory.read(0x8000000000000000, value));
  ASSERT_TRUE(mmu().update_va_mapping(va(0), entry(0, kPtePresent)));
  EXPECT_TRUE(memory.read(va(0), value));
  EXPECT_FALSE(memory.write(va(0), value));
}

}  // namespace
}  // namespace xenopolis::vcpu::kvm
