// The least that runs ring 3 code in KVM: what a domain's creation is compared with.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "vcpu/kvm/kvm_system.h"

namespace xenopolis::vcpu::kvm {

// A virtual machine with 4 MiB of memory and one vCPU in long mode, ring 3, in a loop of OUT instructions.
class BareVm {
 public:
  static constexpr uint64_t kMemorySize = 4 << 20;

  // `system` outlives it.
  static Result<BareVm> create(const KvmSystem& system);
  BareVm(BareVm&& other) noexcept;
  BareVm& operator=(BareVm&&) = delete;
  ~BareVm();

  // KVM_RUN until the next OUT.
  Status run_to_exit();

 private:
  explicit BareVm(const KvmSystem& system) : system_(&system) {}
  void fill_memory();
  Status set_registers();

  const KvmSystem* system_;
  uint8_t* memory_ = nullptr;
  Fd vm_;
  Fd vcpu_;
  kvm_run* run_ = nullptr;
};

}  // namespace xenopolis::vcpu::kvm
