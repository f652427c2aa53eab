#include "vcpu/kvm/kvm_system.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

namespace xenopolis::vcpu::kvm {
namespace {

constexpr const char* kDevice = "/dev/kvm";

tl::unexpected<Error> cannot_open(int code) {
  switch (code) {
    case ENOENT:
      return fail(code,
                  "opening /dev/kvm: this machine has no KVM (kernel module kvm_intel or kvm_amd not loaded, or no "
                  "virtualisation here); the hosted backend needs none");
    case EACCES:
    case EPERM:
      return fail(code, "opening /dev/kvm: not permitted; add the user to the group 'kvm'");
    default:
      errno = code;
      return fail_errno("opening /dev/kvm");
  }
}

struct Capability {
  int number;
  const char* name;
};
constexpr Capability kNeeded[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_XCRS, "KVM_CAP_XCRS"},
};

}  // namespace

Result<KvmSystem> KvmSystem::open() {
  Fd fd(::open(kDevice, O_RDWR | O_CLOEXEC));
  if (!fd) return cannot_open(errno);
  const int version = ioctl(fd.get(), KVM_GET_API_VERSION, 0);
  if (version != KVM_API_VERSION) {
    return fail(EOPNOTSUPP, fmt::format("/dev/kvm has API version {}, not {}", version, KVM_API_VERSION));
  }
  for (const Capability& capability : kNeeded) {
    if (ioctl(fd.get(), KVM_CHECK_EXTENSION, capability.number) <= 0) {
      return fail(EOPNOTSUPP, fmt::format("this KVM has no {}", capability.name));
    }
  }
  constexpr int kSync = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  if ((ioctl(fd.get(), KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS) & kSync) != kSync) {
    return fail(EOPNOTSUPP, "this KVM cannot pass registers in the shared page (KVM_CAP_SYNC_REGS)");
  }
  const int run_size = ioctl(fd.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_size < 0) return fail_errno("KVM_GET_VCPU_MMAP_SIZE");
  CpuidList supported;
  supported.header.count = kMaxCpuidEntries;
  if (ioctl(fd.get(), kGetSupportedCpuid, &supported) != 0) return fail_errno("KVM_GET_SUPPORTED_CPUID");
  CpuidPolicy cpuid({supported.entries, supported.header.count}, host_cpuid, host_xcr0());
  return KvmSystem(std::move(fd), static_cast<size_t>(run_size), cpuid);
}

Result<Fd> KvmSystem::create_vm(void* memory, uint64_t size) const {
  Fd vm(ioctl_through_signals(fd_.get(), KVM_CREATE_VM, 0));
  if (!vm) return fail_errno("KVM_CREATE_VM");
  kvm_userspace_memory_region region{};
  region.memory_size = size;
  region.userspace_addr = reinterpret_cast<uint64_t>(memory);
  if (ioctl_through_signals(vm.get(), KVM_SET_USER_MEMORY_REGION, &region) != 0) {
    return fail_errno(fmt::format("KVM_SET_USER_MEMORY_REGION of {} pages", size >> 12));
  }
  return vm;
}

Result<Fd> KvmSystem::create_vcpu_fd(const Fd& vm) const {
  Fd vcpu(ioctl_through_signals(vm.get(), KVM_CREATE_VCPU, 0));
  if (!vcpu) return fail_errno("KVM_CREATE_VCPU");
  return vcpu;
}

Result<kvm_run*> KvmSystem::map_run(const Fd& vcpu) const {
  void* page = mmap(nullptr, run_size_, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.get(), 0);
  if (page == MAP_FAILED) return fail_errno("mapping a vCPU's kvm_run");
  return static_cast<kvm_run*>(page);
}

void KvmSystem::unmap_run(kvm_run* run) const {
  if (run != nullptr) munmap(run, run_size_);
}

}  // namespace xenopolis::vcpu::kvm
