// /dev/kvm: what it can do, and what all virtual machines of a process have in common.
#pragma once

#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "vcpu/kvm/cpuid_policy.h"
#include "vcpu/kvm/kvm_api.h"

namespace xenopolis::vcpu::kvm {

// Constant after open().
class KvmSystem {
 public:
  // ENOENT, EACCES, EBUSY, EOPNOTSUPP (a capability is missing), with what to do about it.
  static Result<KvmSystem> open();

  // A virtual machine with one memory slot: guest-physical [0, size) is [memory, memory + size), both page-aligned.
  Result<Fd> create_vm(void* memory, uint64_t size) const;
  Result<Fd> create_vcpu_fd(const Fd& vm) const;
  // Maps the vCPU's shared page(s); unmap with unmap_run.
  Result<kvm_run*> map_run(const Fd& vcpu) const;
  void unmap_run(kvm_run* run) const;

  const CpuidPolicy& cpuid() const { return cpuid_; }

 private:
  KvmSystem(Fd fd, size_t run_size, CpuidPolicy cpuid) : fd_(std::move(fd)), run_size_(run_size), cpuid_(cpuid) {}

  Fd fd_;
  size_t run_size_;
  CpuidPolicy cpuid_;
};

}  // namespace xenopolis::vcpu::kvm
