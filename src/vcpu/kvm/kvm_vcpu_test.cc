// What a guest does, and how run() tells of it.
#include <cstring>

#include "vcpu/kvm/cpu_bits.h"
#include "vcpu/kvm/test_domain.h"
#include "xen_abi/pv_layout.h"

namespace xenopolis::vcpu::kvm {
namespace {

TEST(KvmVcpu, HypercallEndsTheRunWithAllRegistersAndComesBack) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.move_to_rbx(0x1122334455667788);
  code.hypercall(17);
  code.bytes({0x48, 0x89, 0xc3});  // mov %rax,%rbx
  code.hypercall(29);
  domain.start(code);

  Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kHypercall) << exit.failure;
  domain::Registers& registers = domain.state.registers;
  EXPECT_EQ(registers.rax, 17u);
  EXPECT_EQ(registers.rbx, 0x1122334455667788u);
  EXPECT_EQ(registers.rsi, 0x1234u);
  EXPECT_EQ(registers.rsp, TestDomain::address(TestDomain::kStackTop) - 8);
  EXPECT_EQ(registers.rip, TestDomain::address(TestDomain::kHypercallPage) + 17 * 32 + 7);

  registers.rax = 0xabcdef0123456789;
  exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kHypercall) << exit.failure;
  EXPECT_EQ(registers.rax, 29u);
  EXPECT_EQ(registers.rbx, 0xabcdef0123456789u);
}

TEST(KvmVcpu, ExceptionsEndTheRunWithVectorAndFrame) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0x0f, 0x0b});  // ud2
  domain.start(code);
  Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorInvalidOpcode);
  EXPECT_FALSE(exit.has_error_code);
  EXPECT_EQ(domain.state.registers.rip, TestDomain::address(TestDomain::kCode));
  EXPECT_EQ(domain.state.registers.rsp, TestDomain::address(TestDomain::kStackTop));
  EXPECT_EQ(domain.state.registers.cs, domain::kKernelCs);
}

TEST(KvmVcpu, PageFaultNamesAddressAndKindOfAccess) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  domain.words(TestDomain::kL1)[TestDomain::kFree] = 0;
  domain.words(TestDomain::kL1)[TestDomain::kFree + 1] &= ~kPteWritable;
  Code code;
  code.move_to_rbx(TestDomain::address(TestDomain::kFree) + 0x18);
  const uint64_t first = TestDomain::address(TestDomain::kCode) + code.get().size();
  code.bytes({0x48, 0x8b, 0x03});  // mov (%rbx),%rax
  domain.start(code);
  Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorPageFault);
  EXPECT_TRUE(exit.has_error_code);
  EXPECT_EQ(exit.error_code, 0u);  // kernel mode, not present, read
  EXPECT_EQ(exit.fault_address, TestDomain::address(TestDomain::kFree) + 0x18);
  EXPECT_EQ(domain.state.registers.rip, first);

  Code write;
  write.move_to_rbx(TestDomain::address(TestDomain::kFree + 1));
  write.bytes({0x48, 0x89, 0x03});  // mov %rax,(%rbx)
  domain.place(TestDomain::kCode, write);
  domain.state.registers.rip = TestDomain::address(TestDomain::kCode);
  exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorPageFault);
  EXPECT_EQ(exit.error_code, kFaultPresent | kFaultWrite);
}

TEST(KvmVcpu, Int3AndIntNReachTheGuestsHandlers) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0xcc, 0xcd, 0x80, 0xcd, 0x21});  // int3; int $0x80; int $0x21
  domain.start(code);
  domain.state.trap_handlers = {{0x1000, domain::kKernelCs, 0x80, 3}, {0x1000, domain::kKernelCs, 0x21, 0}};
  Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorBreakpoint);
  EXPECT_EQ(domain.state.registers.rip, TestDomain::address(TestDomain::kCode) + 1);
  exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, 0x80);
  EXPECT_FALSE(exit.has_error_code);
  EXPECT_EQ(domain.state.registers.rip, TestDomain::address(TestDomain::kCode) + 3);
  // A handler that is not for `int n` from here: #GP at the instruction.
  exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorGeneralProtection);
  EXPECT_EQ(exit.error_code, 0x21u * 8 + 2);
  EXPECT_EQ(domain.state.registers.rip, TestDomain::address(TestDomain::kCode) + 3);
}

TEST(KvmVcpu, PrivilegedInstructionsOfTheKernelAreEmulated) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0xfa, 0xfb, 0x0f, 0x09});                                       // cli; sti; wbinvd
  code.bytes({0x0f, 0x20, 0xd8, 0x49, 0x89, 0xc0});                           // mov %cr3,%rax; mov %rax,%r8
  code.bytes({0xb9}).word32(kMsrEfer).bytes({0x0f, 0x32, 0x49, 0x89, 0xc1});  // rdmsr; mov %rax,%r9
  code.bytes({0xb9}).word32(kMsrGsBase).bytes({0xb8}).word32(0x5000).bytes({0x31, 0xd2});
  code.bytes({0x0f, 0x30});                                                              // wrmsr
  code.bytes({0xb8}).word32(0x40000000).bytes({0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2});  // forced cpuid
  code.bytes({0xe4, 0x70});                                                              // in $0x70,%al
  code.bytes({0x90, 0xf4});                                                              // nop; hlt
  domain.start(code);
  const Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorGeneralProtection);
  const domain::Registers& registers = domain.state.registers;
  EXPECT_EQ(registers.rip, TestDomain::address(TestDomain::kCode) + code.get().size() - 1);
  EXPECT_EQ(registers.r8, TestDomain::kL4 << kPageShift);
  EXPECT_EQ(registers.r9, kEferSce | kEferLme | kEferLma | kEferNxe);
  EXPECT_EQ(registers.gs_base, 0x5000u);
  EXPECT_EQ(registers.rbx, uint64_t{XEN_CPUID_SIGNATURE_EBX});
  EXPECT_EQ(registers.rax & 0xff, 0xffu);
}

TEST(KvmVcpu, IntervalTimerOfThePcCounts) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0xb0, 0x01, 0xe6, 0x61});  // mov $1,%al; out %al,$0x61: opens the gate
  code.bytes({0xb0, 0xb0, 0xe6, 0x43});  // mov $0xb0,%al; out %al,$0x43: mode 0
  code.bytes({0xb0, 0xff, 0xe6, 0x42, 0xe6, 0x42});
  code.bytes({0x66, 0xba, 0x61, 0x00});                          // mov $0x61,%dx
  code.bytes({0xec, 0x88, 0xc3, 0xec, 0xa8, 0x20, 0x74, 0xfb});  // in (%dx),%al; mov %al,%bl; until bit 5 is set: again
  code.bytes({0xe5, 0x42, 0xf4});                                // in $0x42,%eax; hlt
  domain.start(code);
  const Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  const domain::Registers& registers = domain.state.registers;
  EXPECT_EQ(registers.rip, TestDomain::address(TestDomain::kCode) + code.get().size() - 1);
  EXPECT_EQ(registers.rbx & 0xff, 0x01u) << "counting";
  EXPECT_EQ(registers.rax, 0xffffffffu) << "the counter's port has one byte";
}

TEST(KvmVcpu, OutsideOfTheHypercallPageAnOutIsAProtectionFault) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0x90, 0xe6, pv_layout::kHypercallPort});
  domain.start(code);
  const Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorGeneralProtection);
  EXPECT_EQ(domain.state.registers.rip, TestDomain::address(TestDomain::kCode) + 1);
}

TEST(KvmVcpu, InFromTheHypercallPortIsAProtectionFaultAndChangesNothing) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0xb8}).word32(0x1234).bytes({0xe4, pv_layout::kHypercallPort, 0x0f, 0x0b});
  domain.start(code);
  Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorGeneralProtection);
  EXPECT_EQ(domain.state.registers.rip, TestDomain::address(TestDomain::kCode) + 5);
  EXPECT_EQ(domain.state.registers.rax, 0x1234u);
  domain.state.registers.rip += 2;
  exit = domain.run();
  EXPECT_EQ(exit.vector, kVectorInvalidOpcode);
  EXPECT_EQ(domain.state.registers.rax, 0x1234u);
}

TEST(KvmVcpu, SyscallInKernelModeIsAHypercallAndItsPatchToo) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0xb8}).word32(33).bytes({0x0f, 0x05, 0xeb, 0xf7});  // mov $33,%eax; syscall; jmp back
  domain.start(code);
  const uint64_t behind = TestDomain::address(TestDomain::kCode) + 7;
  for (int i = 0; i < 3; ++i) {
    const Exit exit = domain.run();
    ASSERT_EQ(exit.reason, ExitReason::kHypercall) << exit.failure;
    EXPECT_EQ(domain.state.registers.rax, 33u);
    EXPECT_EQ(domain.state.registers.rip, behind);
    EXPECT_EQ(domain.state.registers.rcx, behind);
  }
  EXPECT_EQ(domain.memory.page(TestDomain::kCode)[5], 0xe6);
}

TEST(KvmVcpu, GuestReadsTheMachineToPhysicalTableButCannotWriteIt) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.move_to_rbx(pv_layout::kM2pStart + 8 * 0x321);
  code.bytes({0x48, 0x8b, 0x03});              // mov (%rbx),%rax
  code.bytes({0x48, 0x89, 0x03, 0x0f, 0x0b});  // mov %rax,(%rbx); ud2
  domain.start(code);
  const Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorPageFault);
  EXPECT_EQ(exit.error_code, kFaultPresent | kFaultWrite);
  EXPECT_EQ(domain.state.registers.rax, 0x321u);
}

TEST(KvmVcpu, TableAtXensDefaultAddressReadsToo) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.move_to_rbx(pv_layout::kSupervisorBase + 8 * 0x21);
  code.bytes({0x4c, 0x8b, 0x0b});  // mov (%rbx),%r9
  code.bytes({0x48, 0x89, 0x03});  // mov %rax,(%rbx)
  domain.start(code);
  const Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorPageFault);
  EXPECT_EQ(domain.state.registers.r9, 0x21u);
}

// A user mode with tables of its own, in which the code pages are mapped too.
void add_user_mode(TestDomain& domain) {
  constexpr Gfn kUserL4 = 0x45;
  memcpy(domain.words(kUserL4), domain.words(TestDomain::kL4), kPageSize);
  ASSERT_TRUE(domain.vcpu->mmu()->new_user_base(kUserL4));
  domain.state.kernel_mode = false;
  domain.state.registers.rip = TestDomain::address(TestDomain::kCode);
}

TEST(KvmVcpu, SyscallInUserModeIsOneForTheGuestsKernel) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0xb8}).word32(39).bytes({0x0f, 0x05});
  domain.start(code);
  add_user_mode(domain);
  const Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kSyscall) << exit.failure;
  EXPECT_EQ(domain.state.registers.rax, 39u);
  EXPECT_EQ(domain.state.registers.rip, TestDomain::address(TestDomain::kCode) + 7);
  EXPECT_EQ(domain.state.registers.rsp, TestDomain::address(TestDomain::kStackTop));
  EXPECT_EQ(domain.memory.page(TestDomain::kCode)[5], 0x0f) << "user code must not be patched";
}

TEST(KvmVcpu, UserModeCanNeitherCallTheHypervisorNorUsePrivilegedInstructions) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.hypercall(17);
  domain.start(code);
  add_user_mode(domain);
  Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorGeneralProtection);
  EXPECT_EQ(domain.state.registers.rip, TestDomain::address(TestDomain::kHypercallPage) + 17 * 32 + 5);

  Code privileged;
  privileged.bytes({0xfa});  // cli
  domain.place(TestDomain::kCode, privileged);
  domain.state.registers.rip = TestDomain::address(TestDomain::kCode);
  exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorGeneralProtection);
}

TEST(KvmVcpu, FaultInUserModeSaysSo) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0x48, 0x8b, 0x04, 0x25}).word32(0x1000);  // mov 0x1000,%rax
  domain.start(code);
  add_user_mode(domain);
  const Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorPageFault);
  EXPECT_EQ(exit.error_code, kFaultUser);
  EXPECT_EQ(exit.fault_address, 0x1000u);
}

TEST(KvmVcpu, SegmentBasesFollowTheStateAndTheGuest) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0xf3, 0x48, 0x0f, 0xae, 0xc3});                      // rdfsbase %rbx
  code.move_to_rax(0x7000).bytes({0xf3, 0x48, 0x0f, 0xae, 0xd8});  // wrgsbase %rax
  code.hypercall(1);
  domain.start(code);
  domain.state.registers.fs_base = 0x123456789000;
  const Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kHypercall) << exit.failure << " vector " << int{exit.vector};
  EXPECT_EQ(domain.state.registers.rbx, 0x123456789000u);
  EXPECT_EQ(domain.state.registers.gs_base, 0x7000u);
}

// vcpu_time_info gives guests the host's counter.
TEST(KvmVcpu, TimeStampCounterIsTheHosts) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x48, 0x89, 0xc3});  // rdtsc; rbx = edx:eax
  code.hypercall(1);
  domain.start(code);
  const uint64_t before = __builtin_ia32_rdtsc();
  ASSERT_EQ(domain.run().reason, ExitReason::kHypercall);
  const uint64_t after = __builtin_ia32_rdtsc();
  EXPECT_GE(domain.state.registers.rbx, before);
  EXPECT_LE(domain.state.registers.rbx, after);
}

TEST(KvmVcpu, StateThatCannotRunIsAFaultOfTheGuest) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  domain.start(Code().spin());
  domain.state.registers.rip = 0x8000000000000000;
  Exit exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorGeneralProtection);
  domain.state.registers.rip = TestDomain::address(TestDomain::kCode);
  domain.state.registers.cs = 0x1233;
  exit = domain.run();
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_EQ(exit.vector, kVectorGeneralProtection);
  EXPECT_EQ(exit.error_code, 0x1230u);
}

}  // namespace
}  // namespace xenopolis::vcpu::kvm
