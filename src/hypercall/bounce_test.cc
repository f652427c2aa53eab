#include "hypercall/bounce.h"

#include <gtest/gtest.h>

#include "hypercall/test_domain.h"

namespace xenopolis::hypercall {
namespace {

constexpr uint64_t kHandler = 0xffff'ffff'8000'4000;
constexpr uint64_t kStack = RamMemory::kBase + 0x3008;  // not 16-byte aligned
constexpr uint64_t kAligned = RamMemory::kBase + 0x3000;

iret_context iret_frame(uint64_t rip, uint64_t cs, uint64_t rflags) {
  iret_context frame{};
  frame.rip = rip;
  frame.cs = cs;
  frame.rflags = rflags;
  frame.ss = 0xe02b;
  return frame;
}

class BounceTest : public testing::Test {
 protected:
  BounceTest() {
    Registers& r = domain_.vcpu.registers;
    r.rax = 1;
    r.rcx = 3;
    r.rsp = kStack;
    r.r11 = 11;
    r.rip = 0x1234;
    r.rflags = 0x10302;
    r.cs = 0xe033;
    r.ss = 0xe02b;
    r.gs_base = 0x6000;
    domain_.vcpu.gs_base_inactive = 0x7000;
    domain_.vcpu.callbacks = {.event = kHandler, .syscall = kHandler + 8};
    domain_.vcpu.trap_handlers = {{kHandler, 0xe033, 14, 4}, {kHandler, 0xe033, 3, 0}};
    domain_.vcpu.user_cr3 = 0x5000;
    domain_.vcpu.kernel_rsp = kAligned + 0x800;
    set_upcalls_masked(info(), false);
  }
  using Registers = domain::Registers;

  domain::PvVcpu& vcpu() { return domain_.vcpu; }
  vcpu_info& info() { return domain_.info(); }
  GuestMemory& memory() { return domain_.memory; }
  uint64_t word(unsigned index) { return domain_.get<uint64_t>(vcpu().registers.rsp + index * 8); }

  void go_to_user_mode() {
    set_kernel_mode(vcpu(), false);
    vcpu().registers.cs = 0x33;
    vcpu().registers.ss = 0x2b;
  }

  // What a guest's handler does at its end: rcx and r11 off the frame, then the iret hypercall's own words.
  void push_iret_words(uint64_t rax, uint64_t flags) {
    Registers& r = vcpu().registers;
    r.rcx = word(0);
    r.r11 = word(1);
    r.rsp -= 16;
    CHECK(memory().write(r.rsp, std::array<uint64_t, 4>{rax, r.r11, r.rcx, flags}));
  }

  TestDomain domain_;
};

TEST_F(BounceTest, UpcallFrameOfKernelModeIsAsXenMakesIt) {
  ASSERT_TRUE(deliver_event_upcall(vcpu(), info(), memory()));
  EXPECT_EQ(vcpu().registers.rsp, kAligned - 7 * 8);
  EXPECT_EQ(word(0), 3u);        // rcx
  EXPECT_EQ(word(1), 11u);       // r11
  EXPECT_EQ(word(2), 0x1234u);   // rip
  EXPECT_EQ(word(3), 0xe030u);   // cs: RPL 0, upcalls were not masked
  EXPECT_EQ(word(4), 0x10302u);  // rflags: IF, because upcalls were not masked
  EXPECT_EQ(word(5), kStack);    // rsp
  EXPECT_EQ(word(6), 0xe02bu);   // ss
  EXPECT_EQ(vcpu().registers.rip, kHandler);
  EXPECT_EQ(vcpu().registers.cs, FLAT_RING3_CS64);
  EXPECT_EQ(vcpu().registers.rflags, 0x202u);  // TF and RF are gone
  EXPECT_TRUE(upcalls_masked(info()));
}

TEST_F(BounceTest, FrameShowsThatUpcallsWereMasked) {
  set_upcalls_masked(info(), true);
  ASSERT_TRUE(deliver_exception(vcpu(), info(), memory(), 3, std::nullopt));
  EXPECT_EQ(word(3), 0xe030u | 1ull << 32);
  EXPECT_EQ(word(4) & 0x200, 0u);
  EXPECT_TRUE(upcalls_masked(info()));
}

TEST_F(BounceTest, HandlerDecidesWhetherUpcallsGetMasked) {
  ASSERT_TRUE(deliver_exception(vcpu(), info(), memory(), 3, std::nullopt));
  EXPECT_FALSE(upcalls_masked(info()));
  ASSERT_TRUE(deliver_exception(vcpu(), info(), memory(), 14, 0, 0));
  EXPECT_TRUE(upcalls_masked(info()));
}

TEST_F(BounceTest, PageFaultOfTheKernelIsShownAsTheKernels) {
  ASSERT_TRUE(deliver_exception(vcpu(), info(), memory(), 14, 0x7, 0xdead000));
  EXPECT_EQ(word(2), 0x3u);
  EXPECT_EQ(word(3), 0x1234u);
  EXPECT_EQ(info().arch.cr2, 0xdead000u);
}

TEST_F(BounceTest, EntryFromUserModeSwitchesStackAndGsBase) {
  go_to_user_mode();
  ASSERT_EQ(vcpu().registers.gs_base, 0x7000u);
  ASSERT_TRUE(deliver_exception(vcpu(), info(), memory(), 14, 0x3, 0x10));
  EXPECT_TRUE(vcpu().kernel_mode);
  EXPECT_EQ(vcpu().registers.gs_base, 0x6000u);
  EXPECT_EQ(vcpu().gs_base_inactive, 0x7000u);
  EXPECT_EQ(vcpu().registers.rsp, kAligned + 0x800 - 8 * 8);
  EXPECT_EQ(word(2), 0x7u);  // the user bit
  EXPECT_EQ(word(4), 0x33u);
  EXPECT_EQ(word(6), kStack);
  EXPECT_EQ(word(7), 0x2bu);
}

TEST_F(BounceTest, SyscallEntersItsCallbackWithDirectionFlagClear) {
  go_to_user_mode();
  vcpu().registers.rflags |= 0x400;
  ASSERT_TRUE(deliver_syscall(vcpu(), info(), memory()));
  EXPECT_EQ(vcpu().registers.rip, kHandler + 8);
  EXPECT_EQ(vcpu().registers.rflags & 0x400, 0u);
  EXPECT_NE(word(4) & 0x400, 0u);
  EXPECT_FALSE(upcalls_masked(info()));
}

TEST_F(BounceTest, IretUndoesAnUpcallInKernelMode) {
  const domain::Registers before = vcpu().registers;
  ASSERT_TRUE(deliver_event_upcall(vcpu(), info(), memory()));
  push_iret_words(99, 0);
  ASSERT_TRUE(return_from_frame(vcpu(), info(), memory()));
  const domain::Registers& after = vcpu().registers;
  EXPECT_EQ(after.rax, 99u);
  EXPECT_EQ(after.rip, before.rip);
  EXPECT_EQ(after.rsp, before.rsp);
  EXPECT_EQ(after.rcx, before.rcx);
  EXPECT_EQ(after.r11, before.r11);
  EXPECT_EQ(after.cs, before.cs);
  EXPECT_EQ(after.ss, before.ss);
  EXPECT_EQ(after.rflags, before.rflags);
  EXPECT_TRUE(vcpu().kernel_mode);
  EXPECT_FALSE(upcalls_masked(info()));
}

TEST_F(BounceTest, IretUndoesAnEntryFromUserMode) {
  go_to_user_mode();
  const domain::Registers before = vcpu().registers;
  ASSERT_TRUE(deliver_event_upcall(vcpu(), info(), memory()));
  push_iret_words(before.rax, 0);
  ASSERT_TRUE(return_from_frame(vcpu(), info(), memory()));
  EXPECT_FALSE(vcpu().kernel_mode);
  EXPECT_EQ(vcpu().registers.gs_base, before.gs_base);
  EXPECT_EQ(vcpu().registers.cs, before.cs);
  EXPECT_EQ(vcpu().registers.rsp, before.rsp);
}

TEST_F(BounceTest, IretFromSyscallLeavesRcxAndR11) {
  ASSERT_TRUE(deliver_event_upcall(vcpu(), info(), memory()));
  push_iret_words(0, VGCF_in_syscall);
  vcpu().registers.rcx = 77;
  vcpu().registers.r11 = 78;
  ASSERT_TRUE(return_from_frame(vcpu(), info(), memory()));
  EXPECT_EQ(vcpu().registers.rcx, 77u);
  EXPECT_EQ(vcpu().registers.r11, 78u);
}

TEST_F(BounceTest, IretCannotLoadPrivilegedFlags) {
  ASSERT_TRUE(memory().write(kStack, iret_frame(1, 0xe030, ~0ull)));
  ASSERT_TRUE(return_from_frame(vcpu(), info(), memory()));
  EXPECT_EQ(vcpu().registers.rflags & 0x1a3000, 0u);  // VIP, VIF, VM, IOPL
  EXPECT_NE(vcpu().registers.rflags & 0x202, 0u);
}

TEST_F(BounceTest, EntriesWithoutHandlerFail) {
  vcpu().callbacks = {};
  EXPECT_FALSE(deliver_event_upcall(vcpu(), info(), memory()));
  EXPECT_FALSE(deliver_syscall(vcpu(), info(), memory()));
  EXPECT_FALSE(deliver_exception(vcpu(), info(), memory(), 13, 0));
}

TEST_F(BounceTest, EntriesOntoABadStackFailAndChangeNothing) {
  for (const uint64_t stack : std::vector<uint64_t>{0, 8, kNowhere, RamMemory::kBase, RamMemory::kBase + 48,
                                                    uint64_t{HYPERVISOR_VIRT_START} + 4096, ~0ull}) {
    vcpu().registers.rsp = stack;
    const domain::Registers before = vcpu().registers;
    EXPECT_FALSE(deliver_event_upcall(vcpu(), info(), memory())) << std::hex << stack;
    EXPECT_EQ(std::memcmp(&before, &vcpu().registers, sizeof before), 0);
    EXPECT_FALSE(upcalls_masked(info()));
  }
}

TEST_F(BounceTest, IretCrashesTheDomainRatherThanGoNowhere) {
  const iret_context to_user = iret_frame(1, 0x33, 0), not_canonical = iret_frame(1ull << 47, 0xe030, 0);
  vcpu().user_cr3 = 0;
  for (const uint64_t stack :
       std::vector<uint64_t>{domain_.put(to_user), domain_.put(not_canonical), kNowhere, ~0ull}) {
    vcpu().registers.rsp = stack;
    EXPECT_EQ(domain_.call(__HYPERVISOR_iret), 0);
    EXPECT_EQ(vcpu().after, domain::AfterHypercall::kShutdown);
    EXPECT_EQ(vcpu().shutdown_reason, static_cast<uint32_t>(SHUTDOWN_crash));
    EXPECT_EQ(vcpu().registers.rsp, stack);
  }
}

TEST_F(BounceTest, UpcallIsDueWhenPendingAndNotMasked) {
  info().evtchn_upcall_pending = 0;
  EXPECT_FALSE(upcall_due(info()));
  info().evtchn_upcall_pending = 1;
  EXPECT_TRUE(upcall_due(info()));
  set_upcalls_masked(info(), true);
  EXPECT_FALSE(upcall_due(info()));
}

}  // namespace
}  // namespace xenopolis::hypercall
