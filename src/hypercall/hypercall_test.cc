// All hypercalls as rows, and what every one of them must withstand.
#include "hypercall/hypercall.h"

#include <gtest/gtest.h>

#include "hypercall/test_domain.h"

namespace xenopolis::hypercall {
namespace {

constexpr int64_t kMaxErrno = 4095;

TEST(HypercallTest, WhatIsNotThereAnswersEnosysAndWhatIsForDom0Eperm) {
  TestDomain domain;
  for (const uint64_t number : {11ull, 19ull, 27ull, 28ull, 31ull, 34ull, 38ull, 39ull, 40ull,      41ull,
                                42ull, 43ull, 47ull, 48ull, 55ull, 56ull, 63ull, 64ull, 1ull << 32, ~0ull}) {
    EXPECT_EQ(domain.call(number), -ENOSYS) << number;
  }
  for (const uint64_t number :
       {__HYPERVISOR_platform_op, __HYPERVISOR_sysctl, __HYPERVISOR_domctl, __HYPERVISOR_kexec_op}) {
    EXPECT_EQ(domain.call(number), -EPERM) << number;
  }
}

TEST(HypercallTest, NumbersHaveTheNamesOfThePublicHeader) {
  EXPECT_EQ(name_of(__HYPERVISOR_event_channel_op), "event_channel_op");
  EXPECT_EQ(name_of(__HYPERVISOR_set_trap_table), "set_trap_table");
  EXPECT_EQ(name_of(11), "unknown");
  EXPECT_EQ(name_of(~0ull), "unknown");
}

TEST(HypercallTest, EveryCallIsCounted) {
  TestDomain domain;
  domain.call(__HYPERVISOR_xen_version, XENVER_version);
  domain.call(~0ull);
  EXPECT_EQ(domain.context.record.hypercalls.load(), 2u);
}

TEST(HypercallTest, OnlyIretKeepsRax) {
  EXPECT_FALSE(dispatch_sets_rax(__HYPERVISOR_iret));
  EXPECT_TRUE(dispatch_sets_rax(__HYPERVISOR_sched_op));
}

TEST(HypercallTest, PageTableCallsAnswerEnosysInAFlatDomain) {
  TestDomain domain(TestDomain::Kind::kFlat);
  for (const uint64_t number : {__HYPERVISOR_mmu_update, __HYPERVISOR_mmuext_op, __HYPERVISOR_update_va_mapping,
                                __HYPERVISOR_update_va_mapping_otherdomain, __HYPERVISOR_set_gdt,
                                __HYPERVISOR_update_descriptor, __HYPERVISOR_set_segment_base}) {
    EXPECT_EQ(domain.call(number, 0, 0, 0, DOMID_SELF), -ENOSYS) << name_of(number);
  }
  const uint64_t mapping = domain.put(xen_machphys_mapping{});
  EXPECT_EQ(domain.call(__HYPERVISOR_memory_op, XENMEM_machphys_mapping, mapping), -ENOSYS);
}

// Every hypercall with every pair of wild values as first two arguments, the others taken from the same set: whatever
// it answers, it answers.
class WildArguments : public testing::TestWithParam<TestDomain::Kind> {};

TEST_P(WildArguments, HarmNothing) {
  TestDomain domain(GetParam());
  domain.mmu.notes = false;
  const size_t count = std::size(kWildValues);
  for (uint64_t number = 0; number < 60; ++number) {
    for (size_t i = 0; i < count; ++i) {
      for (size_t j = 0; j < count; ++j) {
        const int64_t answer = domain.call(number, kWildValues[i], kWildValues[j], kWildValues[(i + j) % count],
                                           kWildValues[(i * j) % count], kWildValues[(i + 2 * j) % count]);
        if (number == __HYPERVISOR_get_debugreg) continue;
        ASSERT_GE(answer, -kMaxErrno) << name_of(number);
      }
    }
  }
}

TEST_P(WildArguments, HarmNoOperationOfAnyHypercall) {
  TestDomain domain(GetParam());
  domain.mmu.notes = false;
  // Structures made of one wild value each, at kScratch.
  for (const uint64_t filling : kWildValues) {
    for (uint64_t offset = 0; offset < 512; offset += 8) {
      ASSERT_TRUE(domain.memory.write(TestDomain::kScratch + offset, filling));
    }
    for (uint64_t number = 0; number < 44; ++number) {
      for (uint64_t command = 0; command < 32; ++command) {
        for (const uint64_t count : {0ull, 1ull, 3ull}) {
          const int64_t by_pointer_second =
              domain.call(number, command, TestDomain::kScratch, count, DOMID_SELF, TestDomain::kScratch);
          const int64_t by_pointer_third = domain.call(number, command, count, TestDomain::kScratch);
          if (number == __HYPERVISOR_get_debugreg) continue;
          ASSERT_GE(by_pointer_second, -kMaxErrno) << name_of(number) << " " << command;
          ASSERT_GE(by_pointer_third, -kMaxErrno) << name_of(number) << " " << command;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(BothKinds, WildArguments, testing::Values(TestDomain::Kind::kPaged, TestDomain::Kind::kFlat));

// --- multicall

class MulticallTest : public testing::Test {
 protected:
  int64_t run(const std::vector<multicall_entry_t>& entries) {
    for (size_t i = 0; i < entries.size(); ++i) {
      CHECK(domain_.memory.write(TestDomain::kScratch + i * sizeof entries[0], entries[i]));
    }
    return domain_.call(__HYPERVISOR_multicall, TestDomain::kScratch, entries.size());
  }
  int64_t result(size_t index) {
    const uint64_t address = TestDomain::kScratch + index * sizeof(multicall_entry_t);
    return static_cast<int64_t>(domain_.get<multicall_entry_t>(address).result);
  }
  static multicall_entry_t entry(uint64_t number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0) {
    return {.op = number, .result = 0xbad, .args = {a, b, c, d}};
  }
  TestDomain domain_;
};

TEST_F(MulticallTest, EachEntryGetsItsOwnResult) {
  EXPECT_EQ(run({entry(__HYPERVISOR_xen_version, XENVER_version), entry(11),
                 entry(__HYPERVISOR_vcpu_op, VCPUOP_is_up, 0), entry(__HYPERVISOR_vcpu_op, VCPUOP_is_up, 1)}),
            0);
  EXPECT_EQ(result(0), kXenMajor << 16 | kXenMinor);
  EXPECT_EQ(result(1), -ENOSYS);
  EXPECT_EQ(result(2), 1);
  EXPECT_EQ(result(3), -ENOENT);
}

TEST_F(MulticallTest, NestingAndIretAreRefused) {
  EXPECT_EQ(run({entry(__HYPERVISOR_multicall, TestDomain::kScratch, 1), entry(__HYPERVISOR_iret)}), 0);
  EXPECT_EQ(result(0), -EINVAL);
  EXPECT_EQ(result(1), -ENOSYS);
  EXPECT_EQ(domain_.vcpu.after, domain::AfterHypercall::kContinue);
}

TEST_F(MulticallTest, LengthIsBounded) {
  EXPECT_EQ(domain_.call(__HYPERVISOR_multicall, TestDomain::kScratch, kMulticallLimit + 1), -E2BIG);
  EXPECT_EQ(domain_.call(__HYPERVISOR_multicall, TestDomain::kScratch, 0xffff'ffffull), -E2BIG);
  EXPECT_EQ(run(std::vector<multicall_entry_t>(kMulticallLimit, entry(11))), 0);
  EXPECT_EQ(result(kMulticallLimit - 1), -ENOSYS);
}

TEST_F(MulticallTest, WorkOfAllEntriesTogetherIsBounded) {
  const auto updates = entry(__HYPERVISOR_mmu_update, RamMemory::kBase, kWorkLimit / 2, 0, DOMID_SELF);
  domain_.mmu.notes = false;
  EXPECT_EQ(run({updates, updates, updates, entry(__HYPERVISOR_xen_version, XENVER_version)}), 0);
  EXPECT_EQ(result(0), 0);
  EXPECT_EQ(result(1), 0);
  EXPECT_EQ(result(2), -E2BIG);
  EXPECT_GT(result(3), 0);
}

TEST_F(MulticallTest, NothingRunsAfterTheDomainHasEnded) {
  const uint64_t reason = domain_.put(std::array<sched_shutdown, 64>{{{.reason = SHUTDOWN_reboot}}});
  const uint64_t list = domain_.put(std::array{entry(__HYPERVISOR_sched_op, SCHEDOP_shutdown, reason),
                                               entry(__HYPERVISOR_xen_version, XENVER_version)});
  EXPECT_EQ(domain_.call(__HYPERVISOR_multicall, list, 2), 0);
  EXPECT_EQ(domain_.vcpu.after, domain::AfterHypercall::kShutdown);
  EXPECT_EQ(domain_.vcpu.shutdown_reason, static_cast<uint32_t>(SHUTDOWN_reboot));
  EXPECT_EQ(domain_.get<multicall_entry_t>(list + sizeof(multicall_entry_t)).result, 0xbadu);
}

TEST_F(MulticallTest, ListThatEndsNowhereIsAFault) {
  const uint64_t last = RamMemory::kBase + TestDomain::kRamPages * kPageSize - sizeof(multicall_entry_t);
  ASSERT_TRUE(domain_.memory.write(last, entry(__HYPERVISOR_vcpu_op, VCPUOP_is_up, 0)));
  EXPECT_EQ(domain_.call(__HYPERVISOR_multicall, last, 2), -EFAULT);
  EXPECT_EQ(domain_.get<multicall_entry_t>(last).result, 1u);
  EXPECT_EQ(domain_.call(__HYPERVISOR_multicall, last - 1, 1), 0);
  EXPECT_EQ(domain_.call(__HYPERVISOR_multicall, ~0ull - 8, 1), -EFAULT);
}

}  // namespace
}  // namespace xenopolis::hypercall
