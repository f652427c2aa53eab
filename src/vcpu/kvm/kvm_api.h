// Linux's KVM interface as this directory uses it. Nothing outside includes <linux/kvm.h>.
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdint>

namespace xenopolis::vcpu::kvm {

// The uapi macros for structures with a flexible array take its size, which is not 0 in C++ (an empty struct has one
// byte there): the numbers are rebuilt from the size in C.
struct CountedListHeader {
  uint32_t count;
  uint32_t padding;
};
inline constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, CountedListHeader);
inline constexpr unsigned long kSetMsrs = _IOW(KVMIO, 0x89, CountedListHeader);
inline constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, CountedListHeader);
static_assert(kGetSupportedCpuid == 0xc008ae05 && kSetMsrs == 0x4008ae89 && kSetCpuid2 == 0x4008ae90);

// ioctl(2) again for as long as a signal interrupts it: making VMs and vCPUs waits interruptibly in the kernel, and the
// slice timer's signal comes at any time.
template <class Argument>
int ioctl_through_signals(int fd, unsigned long request, Argument argument) {
  for (;;) {
    const int result = ioctl(fd, request, argument);
    if (result >= 0 || errno != EINTR) return result;
  }
}

struct XsaveArea {
  alignas(64) uint8_t bytes[4096];
};
inline constexpr unsigned long kGetXsave = _IOR(KVMIO, 0xa4, XsaveArea);
inline constexpr unsigned long kSetXsave = _IOW(KVMIO, 0xa5, XsaveArea);
static_assert(kGetXsave == 0x9000aea4 && kSetXsave == 0x5000aea5);

// What a backend that has been opened asks of its VMs and vCPUs: a cell's sandbox lets no others pass.
inline constexpr unsigned long kIoctls[] = {
    KVM_RUN,
    KVM_CREATE_VM,
    KVM_SET_USER_MEMORY_REGION,
    KVM_CREATE_VCPU,
    kSetCpuid2,
    KVM_GET_SREGS,
    KVM_SET_XCRS,
    kSetMsrs,
    KVM_GET_VCPU_EVENTS,
    KVM_SET_VCPU_EVENTS,
    kGetXsave,
    kSetXsave,
    KVM_SET_DEVICE_ATTR,
};

inline constexpr uint32_t kMaxCpuidEntries = 128;
struct CpuidList {
  CountedListHeader header{};
  kvm_cpuid_entry2 entries[kMaxCpuidEntries]{};
};
static_assert(sizeof(CpuidList) == sizeof(CountedListHeader) + kMaxCpuidEntries * sizeof(kvm_cpuid_entry2));

}  // namespace xenopolis::vcpu::kvm
