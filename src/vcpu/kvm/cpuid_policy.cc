#include "vcpu/kvm/cpuid_policy.h"

#include <cpuid.h>
#include <immintrin.h>

#include <algorithm>

#include "hypercall/hypercall.h"
#include "vcpu/kvm/cpu_bits.h"

namespace xenopolis::vcpu::kvm {
namespace {

template <class... Bits>
constexpr uint32_t bits(Bits... bit) {
  return ((1u << bit) | ... | 0u);
}

// Features that a PV guest cannot use: they need ring 0, belong to an APIC, or are not ours to virtualise. The bits'
// names are in the Intel SDM, volume 2, CPUID.
constexpr uint32_t kLeaf1EcxHidden = bits(2 /*DTES64*/, 3 /*MONITOR*/, 5 /*VMX*/, 6 /*SMX*/, 15 /*PDCM*/, 17 /*PCID*/,
                                          21 /*x2APIC*/, 24 /*TSC deadline*/);
constexpr uint32_t kLeaf1EdxHidden = bits(1 /*VME*/, 2 /*DE*/, 3 /*PSE*/, 7 /*MCE*/, 9 /*APIC*/, 12 /*MTRR*/,
                                          13 /*PGE*/, 14 /*MCA*/, 17 /*PSE36*/, 22 /*ACPI*/, 28 /*HTT*/);
constexpr uint32_t kLeaf7EbxHidden = bits(1 /*TSC_ADJUST*/, 2 /*SGX*/, 4 /*HLE*/, 7 /*SMEP*/, 10 /*INVPCID*/,
                                          11 /*RTM*/, 12 /*PQM*/, 14 /*MPX*/, 15 /*PQE*/, 20 /*SMAP*/, 25 /*PT*/);
constexpr uint32_t kExtendedEdxHidden = bits(13 /*PGE*/, 26 /*1 GiB pages*/, 27 /*RDTSCP*/);
constexpr uint32_t kExtendedEcxHidden = bits(2 /*SVM*/, 3 /*extended APIC*/);

constexpr uint32_t kLeaf1EcxXsave = bits(26), kLeaf1EcxOsxsave = bits(27), kLeaf1EcxAvx = bits(28);
constexpr uint32_t kLeaf1EcxHypervisor = bits(31);
constexpr uint32_t kLeaf7EbxAvx2 = bits(5);
constexpr uint32_t kLeaf7EbxAvx512 = bits(16, 17, 21, 28, 30, 31);  // F, DQ, IFMA, CD, BW, VL
constexpr uint32_t kInvariantTsc = bits(8);

constexpr uint32_t kMaxBasicLeaf = 0xd, kMaxExtendedLeaf = 0x80000008;
constexpr uint32_t kXsaveLegacySize = 576;  // FXSAVE area and XSAVE header

bool is_shown(uint32_t leaf) {
  switch (leaf) {
    case 0x0:
    case 0x1:
    case 0x2:
    case 0x4:
    case 0x7:
      return true;
    default:
      return leaf >= 0x80000000 && leaf <= kMaxExtendedLeaf;
  }
}

}  // namespace

CpuidResult host_cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidResult result;
  __cpuid_count(leaf, subleaf, result.eax, result.ebx, result.ecx, result.edx);
  return result;
}

uint64_t host_xcr0() {
  if ((host_cpuid(1, 0).ecx & kLeaf1EcxOsxsave) == 0) return kXcr0X87 | kXcr0Sse;
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low | static_cast<uint64_t>(high) << 32;
}

// Some KVMs let guest user code see and use the CPU's vector registers whatever KVM_SET_CPUID2 said. A guest kernel
// that is told less then saves less at a context switch, and processes lose state: the vector features are therefore
// the CPU's and not the list's. AMX never, because its tiles do not survive on every KVM.
CpuidPolicy::CpuidPolicy(std::span<const kvm_cpuid_entry2> supported, HostCpuid host, uint64_t host_xcr0)
    : xcr0_(host_xcr0 & (kXcr0X87 | kXcr0Sse | kXcr0Avx | kXcr0Avx512)) {
  for (const kvm_cpuid_entry2& entry : supported) {
    if (is_shown(entry.function)) add_supported(entry, host);
  }
  add_xsave_leaf(host);
  add_xen_leaves();
}

void CpuidPolicy::add(uint32_t leaf, uint32_t subleaf, bool has_subleaves, const CpuidResult& value) {
  if (list_.header.count == kMaxCpuidEntries) return;
  kvm_cpuid_entry2& entry = list_.entries[list_.header.count++];
  entry.function = leaf;
  entry.index = subleaf;
  entry.flags = has_subleaves ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
  entry.eax = value.eax;
  entry.ebx = value.ebx;
  entry.ecx = value.ecx;
  entry.edx = value.edx;
}

void CpuidPolicy::add_supported(const kvm_cpuid_entry2& entry, HostCpuid host) {
  CpuidResult value{entry.eax, entry.ebx, entry.ecx, entry.edx};
  const bool has_avx = (xcr0_ & kXcr0Avx) != 0, has_avx512 = (xcr0_ & kXcr0Avx512) == kXcr0Avx512;
  switch (entry.function) {
    case 0x0:
      value.eax = std::min(value.eax, kMaxBasicLeaf);
      break;
    case 0x1:
      value.ebx &= 0xffff;  // no APIC id, no count of logical processors
      value.ecx &= ~kLeaf1EcxHidden;
      value.ecx |= kLeaf1EcxHypervisor | kLeaf1EcxXsave | kLeaf1EcxOsxsave;
      if (has_avx) value.ecx |= host(1, 0).ecx & kLeaf1EcxAvx;
      value.edx &= ~kLeaf1EdxHidden;
      break;
    case 0x7: {
      if (entry.index != 0) return;
      const uint32_t shown = (has_avx ? kLeaf7EbxAvx2 : 0) | (has_avx512 ? kLeaf7EbxAvx512 : 0);
      value.eax = 0;
      value.ebx &= ~(kLeaf7EbxHidden | kLeaf7EbxAvx2 | kLeaf7EbxAvx512);
      value.ebx |= host(7, 0).ebx & shown;
      value.ecx = value.edx = 0;
      break;
    }
    case 0x80000000:
      value.eax = std::min(value.eax, kMaxExtendedLeaf);
      break;
    case 0x80000001:
      value.ecx &= ~kExtendedEcxHidden;
      value.edx &= ~kExtendedEdxHidden;
      break;
    case 0x80000007:
      value.edx |= host(0x80000007, 0).edx & kInvariantTsc;
      break;
    case 0x80000008:
      value.ebx = 0;
      break;
    default:
      break;
  }
  add(entry.function, entry.index, (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0, value);
}

// Leaf 0xD describes the XSAVE area; offsets and sizes are the CPU's (Intel SDM volume 1, 13.2).
void CpuidPolicy::add_xsave_leaf(HostCpuid host) {
  uint32_t size = kXsaveLegacySize, compacted_size = kXsaveLegacySize;
  for (uint32_t component = 2; component < 8; ++component) {
    if ((xcr0_ >> component & 1) == 0) continue;
    const CpuidResult where = host(0xd, component);
    size = std::max(size, where.ebx + where.eax);
    compacted_size += where.eax;
    add(0xd, component, true, {where.eax, where.ebx, 0, 0});
  }
  add(0xd, 0, true, {static_cast<uint32_t>(xcr0_), size, size, 0});
  const uint32_t instructions = host(0xd, 1).eax & 3;  // XSAVEOPT, XSAVEC
  add(0xd, 1, true, {instructions, compacted_size, 0, 0});
}

// <xen/arch-x86/cpuid.h>
void CpuidPolicy::add_xen_leaves() {
  const uint32_t base = XEN_CPUID_FIRST_LEAF;
  add(base, 0, false, {base + 2, XEN_CPUID_SIGNATURE_EBX, XEN_CPUID_SIGNATURE_ECX, XEN_CPUID_SIGNATURE_EDX});
  add(base + 1, 0, false, {hypercall::kXenMajor << 16 | hypercall::kXenMinor, 0, 0, 0});
  // One hypercall page, written by WRMSR to this register.
  add(base + 2, 0, false, {1, base, 0, 0});
}

CpuidResult CpuidPolicy::lookup(uint32_t leaf, uint32_t subleaf) const {
  for (uint32_t i = 0; i < list_.header.count; ++i) {
    const kvm_cpuid_entry2& entry = list_.entries[i];
    const bool has_subleaves = (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0;
    if (entry.function == leaf && (!has_subleaves || entry.index == subleaf)) {
      return {entry.eax, entry.ebx, entry.ecx, entry.edx};
    }
  }
  return {};
}

}  // namespace xenopolis::vcpu::kvm
