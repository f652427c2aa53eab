// A guest owns its page tables, so it can reach the hypervisor's pages behind its RAM. It may break itself by that, and
// nothing else.
#include <gmock/gmock.h>

#include <cstring>
#include <random>

#include "vcpu/kvm/cpu_bits.h"
#include "vcpu/kvm/hypervisor_area.h"
#include "vcpu/kvm/kicker.h"
#include "vcpu/kvm/test_domain.h"

namespace xenopolis::vcpu::kvm {
namespace {

constexpr uint64_t kFlags = kPtePresent | kPteWritable | kPteUser | kPteAccessed | kPteDirty;
constexpr Gfn kWindow = 0x100;  // kBase + kWindow shows any frame

class HostileTest : public testing::Test {
 protected:
  static constexpr domain::MemoryLayout kLayout{TestDomain::kRamPages};
  Gfn control_page() const { return kLayout.backend() + 5; }

  // Code that stores RCX at RBX and then executes `rest`.
  static Code store_then(std::initializer_list<int> rest) {
    Code code;
    code.bytes({0x48, 0x89, 0x0b});  // mov %rcx,(%rbx)
    code.bytes(rest);
    return code;
  }
  // Maps `gfn` into the window by the guest's own means.
  uint64_t expose(Gfn gfn) {
    domain_.words(TestDomain::kL1)[kWindow] = gfn << kPageShift | kFlags;
    return TestDomain::address(kWindow);
  }
  Exit run_until_end(int limit = 100) {
    Exit exit;
    for (int i = 0; i < limit; ++i) {
      exit = domain_.vcpu->run(domain_.state);
      if (exit.reason == ExitReason::kFailed) break;
    }
    return exit;
  }

  TestDomain domain_;
};

TEST_F(HostileTest, WithoutItsInterruptTableAGuestDiesOfItsOwnFault) {
  SKIP_WITHOUT_KVM();
  Code code;
  code.bytes({0xf3, 0x48, 0xab, 0x0f, 0x0b});  // rep stosq; ud2
  domain_.start(code);
  domain_.state.registers.rdi = expose(control_page());
  domain_.state.registers.rcx = kPageSize / 8;
  const Exit exit = run_until_end();
  EXPECT_EQ(exit.reason, ExitReason::kFailed);
  EXPECT_FALSE(exit.failure.empty());
  EXPECT_EQ(domain_.vcpu->run(domain_.state).failure, exit.failure) << "a failed vCPU stays failed";
}

TEST_F(HostileTest, ItsOwnCodeInRing0IsNoneOfTheHypervisors) {
  SKIP_WITHOUT_KVM();
  domain_.start(store_then({0x0f, 0x0b}));
  domain_.state.registers.rbx = expose(control_page()) + 0x400 + kVectorInvalidOpcode * 4;
  domain_.state.registers.rcx = 0xfeeb'e0e6'9090'9090;  // nop x4 over the stub, then out to the hypercall port
  const Exit exit = run_until_end();
  EXPECT_EQ(exit.reason, ExitReason::kFailed);
  EXPECT_THAT(exit.failure, testing::HasSubstr("ring 0"));
}

TEST_F(HostileTest, SpinningInRing0Ends) {
  SKIP_WITHOUT_KVM();
  domain_.start(store_then({0x0f, 0x0b}));
  domain_.state.registers.rbx = expose(control_page()) + 0x400 + kVectorInvalidOpcode * 4;
  domain_.state.registers.rcx = 0xfeeb;  // jmp to itself
  Kicker kicker(std::chrono::milliseconds(1));
  const Exit exit = run_until_end();
  EXPECT_EQ(exit.reason, ExitReason::kFailed);
  EXPECT_THAT(exit.failure, testing::HasSubstr("did not come to an end"));
}

TEST_F(HostileTest, HaltInRing0IsAFailure) {
  SKIP_WITHOUT_KVM();
  domain_.start(store_then({0x0f, 0x0b}));
  domain_.state.registers.rbx = expose(control_page()) + 0x400 + kVectorInvalidOpcode * 4;
  domain_.state.registers.rcx = 0xfdebf4;  // hlt; jmp to it
  Kicker kicker(std::chrono::milliseconds(1));
  EXPECT_EQ(run_until_end().reason, ExitReason::kFailed);
}

TEST_F(HostileTest, MemoryThatIsNotTheDomainsIsAFailure) {
  SKIP_WITHOUT_KVM();
  domain_.start(store_then({0x0f, 0x0b}));
  domain_.state.registers.rbx = expose(domain_.memory.extent.pages + 100);
  const Exit exit = run_until_end();
  EXPECT_EQ(exit.reason, ExitReason::kFailed);
  EXPECT_THAT(exit.failure, testing::HasSubstr("not the domain's memory"));
}

TEST_F(HostileTest, WithoutTheHypervisorsSlotsAGuestDies) {
  SKIP_WITHOUT_KVM();
  domain_.start(store_then({0x0f, 0x0b}));
  domain_.words(TestDomain::kL4)[256] = 0;
  domain_.state.registers.rbx = TestDomain::address(TestDomain::kFree);
  EXPECT_EQ(run_until_end().reason, ExitReason::kFailed);
}

TEST_F(HostileTest, ABrokenUpdateStubIsAFailure) {
  SKIP_WITHOUT_KVM();
  Code code;
  code.bytes({0x48, 0x8b, 0x03});  // mov (%rbx),%rax
  code.hypercall(1).hypercall(2);
  domain_.start(code);
  domain_.state.registers.rbx = TestDomain::address(kWindow);
  ASSERT_EQ(domain_.run().reason, ExitReason::kHypercall);
  memset(domain_.memory.page(control_page()) + 0x80, 0x0f, 0x40);
  ASSERT_TRUE(domain_.vcpu->mmu()->update_va_mapping(TestDomain::address(kWindow), 0));
  Kicker kicker(std::chrono::milliseconds(1));
  EXPECT_EQ(run_until_end().reason, ExitReason::kFailed);
}

// Random damage to the hypervisor's pages, then everything that leads through them.
TEST(HostileFuzz, RandomDamageNeverHangsOrEndsTheProcess) {
  SKIP_WITHOUT_KVM();
  const domain::MemoryLayout layout{TestDomain::kRamPages};
  std::mt19937 random(7);
  Kicker kicker(std::chrono::microseconds(500));
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(round);
    TestDomain domain;
    Code code;
    code.bytes({0x48, 0x8b, 0x03});  // mov (%rbx),%rax
    code.bytes({0x0f, 0x0b, 0xcc, 0x0f, 0x05, 0x8e, 0xd8}).hypercall(5).spin();
    domain.start(code);
    domain.state.registers.rbx = TestDomain::address(kWindow);
    domain.state.registers.rax = random();
    domain.vcpu->run(domain.state);
    const unsigned places = 1 + random() % 64;
    for (unsigned i = 0; i < places; ++i) {
      uint64_t* page = domain.words(layout.backend() + random() % 14);
      page[random() % (random() % 2 == 0 ? 512 : 160)] ^= 1ull << random() % 64;
    }
    for (int run = 0; run < 12; ++run) {
      static_cast<void>(
          domain.vcpu->mmu()->update_va_mapping(TestDomain::address(kWindow), random() % 2 == 0 ? 0 : 0x55007));
      const Exit exit = domain.vcpu->run(domain.state);
      if (exit.reason == ExitReason::kFailed) break;
      if (exit.reason == ExitReason::kTrap) domain.state.registers.rip += 1 + random() % 3;
    }
  }
}

}  // namespace
}  // namespace xenopolis::vcpu::kvm
