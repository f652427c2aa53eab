// A PV guest's vCPU in a KVM virtual machine of its own, always in ring 3.
#pragma once

#include <memory>

#include "vcpu/backend.h"
#include "vcpu/kvm/emulate.h"
#include "vcpu/kvm/hypervisor_area.h"
#include "vcpu/kvm/kick.h"
#include "vcpu/kvm/kvm_system.h"
#include "vcpu/kvm/page_tables.h"
#include "vcpu/kvm/page_walker.h"
#include "vcpu/kvm/segments.h"

namespace xenopolis::vcpu::kvm {

// How a run ends, before it is known whether the guest must hear of it: nothing means that the guest goes on.
using MaybeExit = std::optional<Exit>;

// The kernel's and the user mode of the guest are both ring 3 for the CPU, in different page tables. Ring 0 is only
// ever entered for a few instructions of ours: an exception's OUT, and the update stub. A kick in there does not end
// run(): it goes on until the guest is in ring 3 again or the exit is complete, for at most kStubLimitNs.
class KvmVcpu final : public Vcpu, private PageTables::Flusher, private Emulator::Platform {
 public:
  // `memory` and `system` outlive the vCPU; `state` is what run() will be given.
  static Result<std::unique_ptr<KvmVcpu>> create(const KvmSystem& system, domain::PvVcpu& state,
                                                 const machine::DomainMemory& memory,
                                                 const builder::BuiltDomain& built);
  ~KvmVcpu() override;

  Exit run(domain::PvVcpu& state) override;
  hypercall::GuestMemory& memory() override { return guest_memory_; }
  hypercall::Mmu* mmu() override { return &tables_; }

  // A bound for ring 0. It can only be noticed when KVM_RUN returns: whoever runs vCPUs has a timer that kicks now and
  // then. Guest code needs no bound, the same timer ends its turn.
  static constexpr uint64_t kStubLimitNs = 500'000'000;
  // Not for time alone, of which a busy machine may give the thread none.
  static constexpr unsigned kMinStubRounds = 20;

 private:
  KvmVcpu(const KvmSystem& system, const machine::DomainMemory& memory, HypervisorArea area);

  Status start(domain::PvVcpu& state, const builder::BuiltDomain& built);
  Status set_model_specific_registers();
  void show_host_tsc();
  void set_control_state();
  Status fill_hypercall_page(Gfn gfn);

  // --- between PvVcpu and the shared page
  MaybeExit load(domain::PvVcpu& state);
  void load_general(const domain::Registers& registers);
  void store(domain::PvVcpu& state) const;
  uint64_t active_cr3(const domain::PvVcpu& state) const;

  // --- running
  Exit run_guest(domain::PvVcpu& state, KickScope& kick);
  // KVM_RUN until something other than an unclean EINTR; false: `failure_` says why. `interrupted`: EINTR at a clean
  // boundary.
  bool enter(KickScope& kick, bool& interrupted);
  bool is_clean_boundary() const;
  void forget_soft_exception();
  bool flush(uint64_t cr3, KickScope& kick);
  bool run_stub(size_t count, uint64_t cr3, KickScope& kick);
  void run_update_stub(size_t count) override;
  bool control_state_is_ours() const;

  // --- exits
  MaybeExit handle_exit(domain::PvVcpu& state, KickScope& kick);
  MaybeExit handle_io(domain::PvVcpu& state, KickScope& kick);
  MaybeExit handle_hypercall(domain::PvVcpu& state);
  MaybeExit handle_syscall(domain::PvVcpu& state, uint64_t return_address);
  MaybeExit handle_exception(domain::PvVcpu& state, unsigned vector);
  MaybeExit handle_page_fault(domain::PvVcpu& state, uint32_t error_code);
  MaybeExit handle_general_protection(domain::PvVcpu& state, uint32_t error_code);
  MaybeExit handle_invalid_opcode(domain::PvVcpu& state);
  bool is_hypercall_site(uint64_t rip);
  bool is_patched_site(uint64_t rip) const;
  void patch_syscall(const domain::PvVcpu& state, uint64_t return_address);
  bool clear_protection_keys();
  bool set_xcr0(uint64_t value) override;
  bool set_hypercall_page(Gfn gfn) override;
  Exit fail_exit(std::string why);

  const KvmSystem& system_;
  const machine::DomainMemory& domain_memory_;
  HypervisorArea area_;
  PageWalker walker_;
  PagedGuestMemory guest_memory_;
  PageTables tables_;
  SegmentLoader segments_;
  Emulator emulator_;

  Fd vm_;
  Fd vcpu_;
  kvm_run* run_ = nullptr;
  KickScope* kick_ = nullptr;  // of the run() in progress

  kvm_sregs control_{};          // what control registers and descriptor tables must be
  bool load_everything_ = true;  // sregs in the shared page are not the guest's
  std::string failure_;          // once set, the vCPU cannot go on
  std::optional<Gfn> hypercall_gfn_;
  uint64_t hypercall_va_ = 0;  // where the kernel has called it first; 0: not yet

  static constexpr size_t kPatchedSites = 16;
  std::array<uint64_t, kPatchedSites> patched_sites_{};  // addresses behind the patched instruction; 0: free

  // Repeated faults at one place.
  uint64_t last_spurious_address_ = 0;
  unsigned spurious_faults_ = 0;
  unsigned protection_key_faults_ = 0;
};

}  // namespace xenopolis::vcpu::kvm
