// Instructions that a PV kernel expects Xen to execute for it, because they fault in ring 3.
#pragma once

#include <optional>

#include "domain/pv_vcpu.h"
#include "machine/domain_memory.h"
#include "vcpu/kvm/cpuid_policy.h"
#include "vcpu/kvm/instruction.h"
#include "vcpu/kvm/interval_timer.h"
#include "vcpu/kvm/page_tables.h"
#include "vcpu/kvm/page_walker.h"

namespace xenopolis::vcpu::kvm {

// Each function: true: done, and registers are behind the instruction; false: nothing has changed, and the guest gets
// the exception. What is emulated follows xen/arch/x86/pv/emul-priv-op.c.
class Emulator {
 public:
  // What only the vCPU can do.
  class Platform {
   public:
    virtual ~Platform() = default;
    virtual bool set_xcr0(uint64_t value) = 0;
    virtual bool set_hypercall_page(Gfn gfn) = 0;
  };

  // All of them outlive the emulator.
  Emulator(PagedGuestMemory& memory, const machine::DomainMemory& domain_memory, PageTables& tables,
           const CpuidPolicy& cpuid, Platform& platform)
      : memory_(memory), domain_memory_(domain_memory), tables_(tables), cpuid_(cpuid), platform_(platform) {}

  // #GP at registers.rip.
  bool privileged_instruction(domain::PvVcpu& vcpu);
  // #UD: the sequence `ud2; .ascii "xen"; cpuid` (<xen/arch-x86/xen.h>, XEN_EMULATE_PREFIX).
  bool forced_cpuid(domain::PvVcpu& vcpu, uint64_t cr3);
  // #PF in kernel mode at `address`, which the tables map at `where`: a write to a page table that the kernel has made
  // read-only, as Xen asks it to; or a read of the machine-to-physical table where Xen has it by default.
  bool page_fault(domain::PvVcpu& vcpu, uint64_t address, const std::optional<Translation>& where, bool is_write);

  // What CR2 reads.
  void set_fault_address(uint64_t address) { fault_address_ = address; }

 private:
  bool port_input(const Instruction& instruction, domain::Registers& registers);
  bool port_output(const Instruction& instruction, domain::Registers& registers);

  PagedGuestMemory& memory_;
  const machine::DomainMemory& domain_memory_;
  PageTables& tables_;
  const CpuidPolicy& cpuid_;
  Platform& platform_;
  IntervalTimer interval_timer_;
  uint64_t fault_address_ = 0;
};

}  // namespace xenopolis::vcpu::kvm
