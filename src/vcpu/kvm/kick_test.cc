// Kicks end guest execution, are never lost, and never disturb the guest.
#include "vcpu/kvm/kick.h"

#include "vcpu/kvm/cpu_bits.h"
#include "vcpu/kvm/kicker.h"
#include "vcpu/kvm/test_domain.h"
#include "xen_abi/pv_layout.h"

namespace xenopolis::vcpu::kvm {
namespace {

TEST(Kick, InterruptsASpinningGuest) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  domain.start(Code().spin());
  Kicker kicker(std::chrono::milliseconds(1));
  for (int i = 0; i < 50; ++i) {
    const Exit exit = domain.vcpu->run(domain.state);
    ASSERT_EQ(exit.reason, ExitReason::kInterrupted) << exit.failure;
    ASSERT_EQ(domain.state.registers.rip, TestDomain::address(TestDomain::kCode));
  }
}

TEST(Kick, BeforeTheRunEndsItAtOnceAndOnlyOnce) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.hypercall(1);
  domain.start(code);
  pthread_kill(pthread_self(), machine::Doorbells::kick_signal());
  EXPECT_EQ(domain.vcpu->run(domain.state).reason, ExitReason::kInterrupted);
  EXPECT_EQ(domain.state.registers.rip, TestDomain::address(TestDomain::kCode));
  EXPECT_EQ(domain.vcpu->run(domain.state).reason, ExitReason::kHypercall);
}

TEST(Kick, OfAnotherVcpusRunDoesNotEndThisOnesLater) {
  SKIP_WITHOUT_KVM();
  TestDomain first, second;
  Code code;
  code.hypercall(1).hypercall(2);
  first.start(code);
  second.start(code);
  ASSERT_EQ(first.vcpu->run(first.state).reason, ExitReason::kHypercall);
  pthread_kill(pthread_self(), machine::Doorbells::kick_signal());
  EXPECT_EQ(second.vcpu->run(second.state).reason, ExitReason::kInterrupted);
  EXPECT_EQ(first.vcpu->run(first.state).reason, ExitReason::kHypercall);
}

// A guest that counts in R12 and takes every kind of exit in each round, under a storm of kicks. Whatever a kick hits,
// an exception on its way, a stub, an exit: nothing is lost and nothing happens twice.
TEST(Kick, NeverDisturbsExceptionsCallsAndUpdates) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0x49, 0xff, 0xc4});  // again: inc %r12
  code.bytes({0x0f, 0x0b});        // ud2
  code.bytes({0x48, 0x8b, 0x03});  // mov (%rbx),%rax: page fault
  code.bytes({0xfa});              // cli: emulated
  code.hypercall(3);
  code.bytes({0x0f, 0x05});  // syscall
  code.bytes({0xeb, static_cast<int>(0x100 - (3 + 2 + 3 + 1 + 12 + 2 + 2))});
  domain.start(code);
  domain.state.registers.rbx = 0x1000;
  constexpr uint64_t kWindow = TestDomain::kBase + (0x100 << kPageShift);
  Kicker kicker(std::chrono::microseconds(20));
  const auto next = [&] {
    Exit exit = domain.run();
    EXPECT_NE(exit.reason, ExitReason::kFailed) << exit.failure;
    return exit;
  };
  const auto is_at = [&](uint64_t offset) {
    EXPECT_EQ(domain.state.registers.rip, TestDomain::address(TestDomain::kCode) + offset);
  };
  for (uint64_t round = 1; round <= 2000 && !testing::Test::HasFailure(); ++round) {
    Exit exit = next();
    EXPECT_EQ(exit.vector, kVectorInvalidOpcode);
    is_at(3);
    domain.state.registers.rip += 2;
    // A change that needs the update stub.
    EXPECT_TRUE(domain.vcpu->mmu()->update_va_mapping(kWindow, (0x50 + round % 8) << kPageShift | kPtePresent));
    exit = next();
    EXPECT_EQ(exit.vector, kVectorPageFault);
    EXPECT_EQ(exit.fault_address, 0x1000u);
    is_at(5);
    domain.state.registers.rip += 3;
    EXPECT_EQ(next().reason, ExitReason::kHypercall);
    EXPECT_EQ(domain.state.registers.rax, 3u);
    domain.state.registers.rax = 0x77;
    EXPECT_EQ(next().reason, ExitReason::kHypercall);
    EXPECT_EQ(domain.state.registers.rax, 0x77u);
    is_at(23);
    EXPECT_EQ(domain.state.registers.r12, round);
    EXPECT_EQ(domain.state.registers.rsp, TestDomain::address(TestDomain::kStackTop));
  }
}

// KVM_GET_VCPU_EVENTS does not tell of this exception while it is on its way.
TEST(Kick, NeverDisturbsBreakpoints) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0x49, 0xff, 0xc4, 0xcc, 0xeb, 0xfa});  // again: inc %r12; int3; jmp again
  domain.start(code);
  Kicker kicker(std::chrono::microseconds(20));
  for (uint64_t round = 1; round <= 5000; ++round) {
    const Exit exit = domain.run();
    ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
    ASSERT_EQ(exit.vector, kVectorBreakpoint);
    ASSERT_EQ(domain.state.registers.r12, round) << "one was lost";
    ASSERT_EQ(domain.state.registers.rip, TestDomain::address(TestDomain::kCode) + 4);
  }
}

// System calls of user mode, whose SYSCALL is not patched.
TEST(Kick, NeverDisturbsSystemCalls) {
  SKIP_WITHOUT_KVM();
  TestDomain domain;
  Code code;
  code.bytes({0x49, 0xff, 0xc4, 0x0f, 0x05, 0xeb, 0xf9});  // again: inc %r12; syscall; jmp again
  domain.start(code);
  ASSERT_TRUE(domain.vcpu->mmu()->new_user_base(TestDomain::kL4));
  domain.state.kernel_mode = false;
  Kicker kicker(std::chrono::microseconds(20));
  for (uint64_t round = 1; round <= 5000; ++round) {
    const Exit exit = domain.run();
    ASSERT_EQ(exit.reason, ExitReason::kSyscall) << exit.failure << " vector " << int{exit.vector};
    ASSERT_EQ(domain.state.registers.r12, round);
    ASSERT_EQ(domain.state.registers.rip, TestDomain::address(TestDomain::kCode) + 5);
  }
}

}  // namespace
}  // namespace xenopolis::vcpu::kvm
