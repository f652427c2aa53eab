// What a guest does, and how run() tells of it.
#include "vcpu/kvm/cpu_bits.h"
#include "vcpu/kvm/test_domain.h"

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

}  // namespace
}  // namespace xenopolis::vcpu::kvm
