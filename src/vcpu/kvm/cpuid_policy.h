// The CPUID that PV guests see: what the host has, without what a PV guest cannot use.
#pragma once

#include <span>

#include "base/result.h"
#include "vcpu/kvm/kvm_api.h"

namespace xenopolis::vcpu::kvm {

struct CpuidResult {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Constant after construction.
class CpuidPolicy {
 public:
  // `supported`: KVM_GET_SUPPORTED_CPUID. `host`: leaf and sub-leaf as this CPU answers them. `host_xcr0`: XGETBV(0).
  using HostCpuid = CpuidResult (*)(uint32_t leaf, uint32_t subleaf);
  CpuidPolicy(std::span<const kvm_cpuid_entry2> supported, HostCpuid host, uint64_t host_xcr0);

  // Leaves without an entry are all zeros.
  CpuidResult lookup(uint32_t leaf, uint32_t subleaf) const;
  // For KVM_SET_CPUID2.
  const CpuidList& list() const { return list_; }
  // The vector state that guests see, hence must save: bits of XCR0.
  uint64_t xcr0() const { return xcr0_; }

 private:
  void add(uint32_t leaf, uint32_t subleaf, bool has_subleaves, const CpuidResult& value);
  void add_supported(const kvm_cpuid_entry2& entry, HostCpuid host);
  void add_xsave_leaf(HostCpuid host);
  void add_xen_leaves();

  CpuidList list_;
  uint64_t xcr0_;
};

CpuidResult host_cpuid(uint32_t leaf, uint32_t subleaf);
uint64_t host_xcr0();

}  // namespace xenopolis::vcpu::kvm
