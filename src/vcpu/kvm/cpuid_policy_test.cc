#include "vcpu/kvm/cpuid_policy.h"

#include <gtest/gtest.h>

#include <vector>

#include "xen_abi/xen.h"

namespace xenopolis::vcpu::kvm {
namespace {

constexpr uint32_t kXsaveBits = 7u << 26;  // XSAVE, OSXSAVE, AVX

// A host with everything, AMX too; offsets and sizes are those of real CPUs.
CpuidResult rich_host(uint32_t leaf, uint32_t subleaf) {
  if (leaf == 0xd) {
    switch (subleaf) {
      case 1:
        return {0x1f, 0, 0, 0};
      case 2:
        return {256, 576, 0, 0};
      case 5:
        return {64, 1088, 0, 0};
      case 6:
        return {512, 1152, 0, 0};
      case 7:
        return {1024, 1664, 0, 0};
      case 18:
        return {8192, 2816, 0, 0};
      default:
        return {};
    }
  }
  return {~0u, ~0u, ~0u, ~0u};
}

kvm_cpuid_entry2 entry(uint32_t leaf, uint32_t subleaf, const CpuidResult& value) {
  kvm_cpuid_entry2 result{};
  result.function = leaf;
  result.index = subleaf;
  if (leaf == 7 || leaf == 0xd) result.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
  result.eax = value.eax;
  result.ebx = value.ebx;
  result.ecx = value.ecx;
  result.edx = value.edx;
  return result;
}

const std::vector<kvm_cpuid_entry2> kPoorKvm = {entry(0, 0, {0x20, 0, 0, 0}), entry(1, 0, {0, ~0u, ~kXsaveBits, ~0u}),
                                                entry(7, 0, {2, 0, ~0u, ~0u}), entry(7, 1, {~0u, 0, 0, 0}),
                                                entry(0x80000000, 0, {0x80000020, 0, 0, 0})};

// The list that KVM offers names no vector feature, but user code has them: the guest's kernel must know.
TEST(CpuidPolicy, ShowsTheVectorStateThatUserCodeHas) {
  const CpuidPolicy policy(kPoorKvm, rich_host, 0x602e7);
  EXPECT_EQ(policy.xcr0(), 0xe7u);
  EXPECT_EQ(policy.lookup(1, 0).ecx & kXsaveBits, kXsaveBits);
  EXPECT_NE(policy.lookup(7, 0).ebx & 1u << 5, 0u) << "AVX2";
  EXPECT_NE(policy.lookup(7, 0).ebx & 1u << 16, 0u) << "AVX512F";
  EXPECT_EQ(policy.lookup(0xd, 0).eax, 0xe7u);
  EXPECT_EQ(policy.lookup(0xd, 0).ebx, 1664u + 1024);
  EXPECT_EQ(policy.lookup(0xd, 1).eax, 3u) << "XSAVEOPT and XSAVEC, not XSAVES";
  EXPECT_EQ(policy.lookup(0xd, 1).ebx, 576u + 256 + 64 + 512 + 1024);
  EXPECT_EQ(policy.lookup(0xd, 6).ebx, 1152u);
}

TEST(CpuidPolicy, NeverShowsAmx) {
  const CpuidPolicy policy(kPoorKvm, rich_host, 0x602e7);
  EXPECT_EQ(policy.lookup(7, 0).edx, 0u);
  EXPECT_EQ(policy.lookup(0xd, 18).eax, 0u);
  EXPECT_EQ(policy.lookup(0x1d, 1).eax, 0u);
}

TEST(CpuidPolicy, ShowsNoMoreThanXcr0Has) {
  const CpuidPolicy policy(kPoorKvm, rich_host, 3);
  EXPECT_EQ(policy.lookup(1, 0).ecx & 1u << 28, 0u) << "AVX";
  EXPECT_EQ(policy.lookup(7, 0).ebx & (1u << 5 | 1u << 16), 0u);
  EXPECT_EQ(policy.lookup(0xd, 0).eax, 3u);
  EXPECT_EQ(policy.lookup(0xd, 0).ebx, 576u);
}

TEST(CpuidPolicy, ShowsXenAndNothingOfRing0) {
  const CpuidPolicy policy(kPoorKvm, rich_host, 7);
  EXPECT_EQ(policy.lookup(0x40000000, 0).ebx, uint32_t{XEN_CPUID_SIGNATURE_EBX});
  EXPECT_EQ(policy.lookup(0x40000001, 0).eax, 4u << 16 | 17u);
  EXPECT_NE(policy.lookup(1, 0).ecx & 1u << 31, 0u) << "hypervisor";
  EXPECT_EQ(policy.lookup(1, 0).ecx & 1u << 5, 0u) << "VMX";
  EXPECT_EQ(policy.lookup(1, 0).edx & 1u << 9, 0u) << "APIC";
  EXPECT_EQ(policy.lookup(0, 0).eax, 0xdu);
  EXPECT_EQ(policy.lookup(0xb, 0).ebx, 0u);
}

}  // namespace
}  // namespace xenopolis::vcpu::kvm
