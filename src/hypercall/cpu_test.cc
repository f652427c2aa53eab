// Hypercalls that set up the CPU and its page tables.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hypercall/test_domain.h"

namespace xenopolis::hypercall {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Call = NotingMmu::Call;

constexpr uint64_t kHandler = 0xffff'ffff'8100'0000;

class CpuTest : public testing::Test {
 protected:
  domain::PvVcpu& vcpu() { return domain_.vcpu; }
  template <class... Values>
  int64_t call(uint64_t number, Values... values) {
    return domain_.call(number, values...);
  }
  TestDomain domain_;
};

TEST_F(CpuTest, TrapTableIsTakenUpToItsEndAndMerged) {
  const uint64_t table =
      domain_.put(std::array<trap_info, 3>{{{14, 4, 0xe033, kHandler}, {3, 3, 0xe033, kHandler + 1}}});
  EXPECT_EQ(call(__HYPERVISOR_set_trap_table, table), 0);
  const uint64_t more = domain_.put(std::array<trap_info, 2>{{{14, 0, 0xe033, kHandler + 2}}});
  EXPECT_EQ(call(__HYPERVISOR_set_trap_table, more), 0);
  ASSERT_EQ(vcpu().trap_handlers.size(), 2u);
  EXPECT_EQ(vcpu().trap_handler(14)->address, kHandler + 2);
  EXPECT_FALSE(vcpu().trap_handler(14)->masks_events());
  EXPECT_EQ(vcpu().trap_handler(3)->address, kHandler + 1);
  EXPECT_EQ(call(__HYPERVISOR_set_trap_table, 0), 0);
  EXPECT_THAT(vcpu().trap_handlers, IsEmpty());
}

TEST_F(CpuTest, TrapTableWithoutEndIsBounded) {
  std::array<trap_info, 300> endless;
  endless.fill({14, 0, 0xe033, kHandler});
  EXPECT_EQ(call(__HYPERVISOR_set_trap_table, domain_.put(endless)), -E2BIG);
  std::array<trap_info, 257> full{};
  for (unsigned i = 0; i < 256; ++i) full[i] = {static_cast<uint8_t>(i), 0, 0xe033, kHandler};
  EXPECT_EQ(call(__HYPERVISOR_set_trap_table, domain_.put(full)), 0);
  EXPECT_EQ(vcpu().trap_handlers.size(), 256u);
  const uint64_t bad = domain_.put(std::array<trap_info, 2>{{{1, 0, 0xe033, 1ull << 50}}});
  EXPECT_EQ(call(__HYPERVISOR_set_trap_table, bad), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_set_trap_table, kNowhere), -EFAULT);
}

TEST_F(CpuTest, CallbacksAreSetBothWays) {
  EXPECT_EQ(call(__HYPERVISOR_set_callbacks, 1, 2, 3), 0);
  EXPECT_EQ(vcpu().callbacks.event, 1u);
  EXPECT_EQ(vcpu().callbacks.failsafe, 2u);
  EXPECT_EQ(vcpu().callbacks.syscall, 3u);
  EXPECT_EQ(call(__HYPERVISOR_set_callbacks, 1ull << 47, 2, 3), -EINVAL);

  struct Row {
    callback_register argument;
    int64_t answer;
  };
  for (const Row& row :
       {Row{{CALLBACKTYPE_event, 0, kHandler}, 0}, Row{{CALLBACKTYPE_syscall, CALLBACKF_mask_events, kHandler + 1}, 0},
        Row{{CALLBACKTYPE_nmi, 0, kHandler + 2}, 0}, Row{{CALLBACKTYPE_sysenter, 0, kHandler}, -ENOSYS},
        Row{{CALLBACKTYPE_syscall32, 0, kHandler}, -ENOSYS}, Row{{99, 0, kHandler}, -ENOSYS},
        Row{{CALLBACKTYPE_event, 0, 1ull << 60}, -EINVAL}}) {
    EXPECT_EQ(call(__HYPERVISOR_callback_op, CALLBACKOP_register, domain_.put(row.argument)), row.answer);
  }
  EXPECT_EQ(vcpu().callbacks.event, kHandler);
  EXPECT_TRUE(vcpu().callbacks.syscall_masks_events);
  EXPECT_EQ(vcpu().trap_handler(2)->address, kHandler + 2);
  const uint64_t nmi = domain_.put(callback_unregister{CALLBACKTYPE_nmi, 0});
  EXPECT_EQ(call(__HYPERVISOR_callback_op, CALLBACKOP_unregister, nmi), 0);
  EXPECT_EQ(vcpu().trap_handler(2), nullptr);
  const uint64_t event = domain_.put(callback_unregister{CALLBACKTYPE_event, 0});
  EXPECT_EQ(call(__HYPERVISOR_callback_op, CALLBACKOP_unregister, event), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_callback_op, CALLBACKOP_register, kNowhere), -EFAULT);
  EXPECT_EQ(call(__HYPERVISOR_callback_op, 9, nmi), -ENOSYS);
}

TEST_F(CpuTest, SegmentBasesGoWhereTheModeExpectsThem) {
  EXPECT_EQ(call(__HYPERVISOR_set_segment_base, SEGBASE_FS, 0x1000), 0);
  EXPECT_EQ(call(__HYPERVISOR_set_segment_base, SEGBASE_GS_KERNEL, 0x2000), 0);
  EXPECT_EQ(call(__HYPERVISOR_set_segment_base, SEGBASE_GS_USER, 0x3000), 0);
  EXPECT_EQ(vcpu().registers.fs_base, 0x1000u);
  EXPECT_EQ(vcpu().registers.gs_base, 0x2000u);
  EXPECT_EQ(vcpu().gs_base_inactive, 0x3000u);
  EXPECT_EQ(call(__HYPERVISOR_set_segment_base, SEGBASE_GS_USER_SEL, 0), 0);
  EXPECT_EQ(vcpu().gs_base_inactive, 0u);
  EXPECT_EQ(call(__HYPERVISOR_set_segment_base, SEGBASE_FS, 1ull << 47), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_set_segment_base, 4, 0), -EINVAL);
}

TEST_F(CpuTest, UserGsIsLoadedFromTheGuestsGdt) {
  // Entry 3: base 0x12345678, present, data, DPL 3; entry 4: the same with DPL 0.
  ASSERT_TRUE(domain_.memory.write(RamMemory::kBase + 5 * kPageSize + 24,
                                   std::array<uint64_t, 2>{0x12cff334'5678'ffffull, 0x12cf9334'5678'ffffull}));
  ASSERT_EQ(call(__HYPERVISOR_set_gdt, domain_.put(uint64_t{5}), 512), 0);
  struct Row {
    uint64_t selector;
    uint16_t loaded;
    uint64_t base;
  };
  for (const Row& row : {Row{0x1b, 0x1b, 0x12345678}, Row{0x23, 0, 0}, Row{0x1f, 0, 0}, Row{512 * 8 + 3, 0, 0},
                         Row{FLAT_RING3_SS64, FLAT_RING3_SS64, 0}, Row{3, 3, 0}}) {
    EXPECT_EQ(call(__HYPERVISOR_set_segment_base, SEGBASE_GS_USER_SEL, row.selector), 0);
    EXPECT_EQ(vcpu().registers.gs, row.loaded) << row.selector;
    EXPECT_EQ(vcpu().gs_base_inactive, row.base) << row.selector;
  }
}

TEST_F(CpuTest, SmallCpuStateIsKeptOrRefused) {
  EXPECT_EQ(call(__HYPERVISOR_stack_switch, 0xe02b, 0x8000), 0);
  EXPECT_EQ(vcpu().kernel_rsp, 0x8000u);
  EXPECT_EQ(vcpu().kernel_ss, 0xe02b);
  EXPECT_EQ(call(__HYPERVISOR_fpu_taskswitch, 0), 0);
  EXPECT_EQ(call(__HYPERVISOR_fpu_taskswitch, 1), -ENOSYS);
  EXPECT_EQ(call(__HYPERVISOR_set_debugreg, 1, 0x1234), 0);
  EXPECT_EQ(call(__HYPERVISOR_get_debugreg, 1), 0x1234);
  EXPECT_EQ(call(__HYPERVISOR_set_debugreg, 7, 0x400), 0);
  EXPECT_EQ(call(__HYPERVISOR_set_debugreg, 7, 0x401), -ENOSYS);
  EXPECT_EQ(call(__HYPERVISOR_set_debugreg, 4, 0), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_set_debugreg, 8, 0), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_get_debugreg, ~0ull), -EINVAL);
}

TEST_F(CpuTest, GdtFramesMustBeRam) {
  const uint64_t frames = domain_.put(std::array<uint64_t, 14>{5, 6, TestDomain::kRamPages});
  EXPECT_EQ(call(__HYPERVISOR_set_gdt, frames, 1024), 0);
  EXPECT_THAT(domain_.mmu.calls, ElementsAre(Call{"set_gdt", 2, 5, 0}));
  EXPECT_EQ(call(__HYPERVISOR_set_gdt, frames, 1025), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_set_gdt, frames, FIRST_RESERVED_GDT_ENTRY + 1), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_set_gdt, frames, ~0ull), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_set_gdt, kNowhere, 16), -EFAULT);
}

TEST_F(CpuTest, DescriptorIsWrittenIntoRamOnly) {
  EXPECT_EQ(call(__HYPERVISOR_update_descriptor, 0x3008, 0xabcdef), 0);
  EXPECT_EQ(domain_.get<uint64_t>(RamMemory::kBase + 0x3008), 0xabcdefu);
  EXPECT_EQ(call(__HYPERVISOR_update_descriptor, 0x3004, 1), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_update_descriptor, TestDomain::kRamPages << kPageShift, 1), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_update_descriptor, ~7ull, 1), -EINVAL);
}

TEST_F(CpuTest, MmuUpdatesAreAppliedInOrderUntilOneFails) {
  const uint64_t done = domain_.put(uint32_t{99});
  const uint64_t updates = domain_.put(std::array<mmu_update_t, 4>{{{0x1000 | MMU_NORMAL_PT_UPDATE, 0x67},
                                                                    {0x1008 | MMU_PT_UPDATE_PRESERVE_AD, 0x63},
                                                                    {0x5000 | MMU_MACHPHYS_UPDATE, 5},
                                                                    {0x1004, 0}}});
  EXPECT_EQ(call(__HYPERVISOR_mmu_update, updates, 4, done, DOMID_SELF), -EINVAL);
  EXPECT_EQ(domain_.get<uint32_t>(done), 3u);
  EXPECT_THAT(domain_.mmu.calls, ElementsAre(Call{"write_entry", 0x1000, 0x67, 0}, Call{"write_entry", 0x1008, 0x63, 1},
                                             Call{"set_m2p", 5, 5, 0}));
  EXPECT_EQ(call(__HYPERVISOR_mmu_update, updates, 3, 0, DOMID_SELF), 0);
  EXPECT_EQ(call(__HYPERVISOR_mmu_update, updates, 1, kNowhere, DOMID_SELF), -EFAULT);
  EXPECT_EQ(call(__HYPERVISOR_mmu_update, kNowhere, 1, 0, DOMID_SELF), -EFAULT);
}

TEST_F(CpuTest, MmuUpdatesReachNoOtherDomain) {
  const uint64_t updates = domain_.put(mmu_update_t{0x1000, 0x67});
  for (const uint64_t domid : std::vector<uint64_t>{kDom0, 8, DOMID_IO, DOMID_XEN, 9ull << 16 | 7, 8ull << 48 | 7,
                                                    uint64_t{DOMID_SELF + 1} << 16 | 8}) {
    EXPECT_EQ(call(__HYPERVISOR_mmu_update, updates, 1, 0, domid), -EPERM) << domid;
  }
  EXPECT_EQ(call(__HYPERVISOR_mmu_update, updates, 1, 0, TestDomain::kDomId), 0);
  EXPECT_EQ(call(__HYPERVISOR_mmu_update, updates, 1, 0, (TestDomain::kDomId + 1ull) << 16 | DOMID_SELF), 0);
  EXPECT_EQ(call(__HYPERVISOR_update_va_mapping_otherdomain, 0x1000, 0x67, 0, 8), -EPERM);
  EXPECT_EQ(call(__HYPERVISOR_mmuext_op, 0, 0, 0, 8), -EPERM);
}

TEST_F(CpuTest, BatchesBeyondTheWorkLimitDoNothing) {
  EXPECT_EQ(call(__HYPERVISOR_mmu_update, RamMemory::kBase, kWorkLimit + 1, 0, DOMID_SELF), -E2BIG);
  EXPECT_EQ(call(__HYPERVISOR_mmu_update, RamMemory::kBase, 0xffff'ffffull, 0, DOMID_SELF), -E2BIG);
  EXPECT_EQ(call(__HYPERVISOR_mmuext_op, RamMemory::kBase, 0xffff'ffffull, 0, DOMID_SELF), -E2BIG);
  EXPECT_THAT(domain_.mmu.calls, IsEmpty());
}

TEST_F(CpuTest, ExtendedOperationsReachTheMmu) {
  auto run = [&](mmuext_op_t operation) {
    return call(__HYPERVISOR_mmuext_op, domain_.put(operation), 1, 0, DOMID_SELF);
  };
  auto operation = [](unsigned command, uint64_t mfn) {
    mmuext_op_t result{};
    result.cmd = command;
    result.arg1.mfn = mfn;
    return result;
  };
  EXPECT_EQ(run(operation(MMUEXT_PIN_L4_TABLE, 4)), 0);
  EXPECT_EQ(run(operation(MMUEXT_UNPIN_TABLE, 4)), 0);
  EXPECT_EQ(run(operation(MMUEXT_NEW_BASEPTR, 5)), 0);
  EXPECT_EQ(run(operation(MMUEXT_NEW_USER_BASEPTR, 0)), 0);
  EXPECT_EQ(run(operation(MMUEXT_INVLPG_ALL, 0)), 0);
  EXPECT_THAT(domain_.mmu.calls,
              ElementsAre(Call{"pin", 4, 4, 0}, Call{"unpin", 4, 0, 0}, Call{"new_kernel_base", 5, 0, 0},
                          Call{"new_user_base", 0, 0, 0}, Call{"flush_tlb", 0, 0, 0}));
  for (const unsigned command : {MMUEXT_PIN_L1_TABLE, MMUEXT_UNPIN_TABLE, MMUEXT_NEW_BASEPTR, MMUEXT_CLEAR_PAGE,
                                 MMUEXT_COPY_PAGE, MMUEXT_NEW_USER_BASEPTR}) {
    EXPECT_EQ(run(operation(command, TestDomain::kRamPages)), -EINVAL) << command;
    EXPECT_EQ(run(operation(command, ~0ull)), -EINVAL) << command;
  }
  for (const unsigned command : {MMUEXT_FLUSH_CACHE, MMUEXT_MARK_SUPER, 14, 21}) {
    EXPECT_EQ(run(operation(command, 1)), -ENOSYS) << command;
  }
  mmuext_op_t ldt = operation(MMUEXT_SET_LDT, 0);
  EXPECT_EQ(run(ldt), 0);
  ldt.arg2.nr_ents = 1;
  EXPECT_EQ(run(ldt), -ENOSYS);
}

TEST_F(CpuTest, PagesAreClearedAndCopied) {
  std::memset(domain_.ram() + 3 * kPageSize, 0x55, kPageSize);
  mmuext_op_t copy{};
  copy.cmd = MMUEXT_COPY_PAGE;
  copy.arg1.mfn = 4;
  copy.arg2.src_mfn = 3;
  mmuext_op_t clear{};
  clear.cmd = MMUEXT_CLEAR_PAGE;
  clear.arg1.mfn = 3;
  EXPECT_EQ(call(__HYPERVISOR_mmuext_op, domain_.put(std::array{copy, clear}), 2, 0, DOMID_SELF), 0);
  EXPECT_EQ(domain_.ram()[3 * kPageSize + 7], 0);
  EXPECT_EQ(domain_.ram()[4 * kPageSize + 7], 0x55);
}

TEST_F(CpuTest, PinningCountsMoreThanOtherOperations) {
  std::array<mmuext_op_t, 600> pins{};
  for (mmuext_op_t& pin : pins) pin.cmd = MMUEXT_PIN_L1_TABLE;
  const uint64_t done = domain_.put(uint32_t{0});
  EXPECT_EQ(call(__HYPERVISOR_mmuext_op, domain_.put(pins), pins.size(), done, DOMID_SELF), -E2BIG);
  EXPECT_GT(domain_.get<uint32_t>(done), 100u);
  EXPECT_LT(domain_.get<uint32_t>(done), 600u);
}

TEST_F(CpuTest, MappingOneAddressFlushesOnDemand) {
  EXPECT_EQ(call(__HYPERVISOR_update_va_mapping, 0x1000, 0x67, UVMF_NONE), 0);
  EXPECT_EQ(call(__HYPERVISOR_update_va_mapping, 0x2000, 0x67, UVMF_INVLPG | UVMF_LOCAL), 0);
  EXPECT_THAT(domain_.mmu.calls, ElementsAre(Call{"update_va_mapping", 0x1000, 0x67, 0},
                                             Call{"update_va_mapping", 0x2000, 0x67, 0}, Call{"flush_tlb", 0, 0, 0}));
  domain_.mmu.answer = xen_fail(XenErrno::kInval);
  EXPECT_EQ(call(__HYPERVISOR_update_va_mapping, 0x1000, 0x67, UVMF_NONE), -EINVAL);
}

}  // namespace
}  // namespace xenopolis::hypercall
