#include "vcpu/kvm/bare_vm.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstring>

#include "vcpu/kvm/cpu_bits.h"
#include "xen_abi/xen.h"

namespace xenopolis::vcpu::kvm {
namespace {

constexpr uint64_t kL4 = 0x1000, kL3 = 0x2000, kL2 = 0x3000, kTss = 0x4000, kCode = 0x5000, kStack = 0x7000;
constexpr uint8_t kPort = 0x10;
constexpr uint64_t kTssBitmapOffset = 102, kTssHeader = 104, kTssSize = kTssHeader + 256 / 8 + 1;
constexpr uint8_t kCodeType = 11, kDataType = 3, kBusyTssType = 11;

kvm_segment ring3_segment(uint16_t selector, uint8_t type, bool is_long) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.dpl = 3;
  segment.s = 1;
  segment.l = is_long;
  segment.db = !is_long;
  segment.g = 1;
  return segment;
}

}  // namespace

BareVm::BareVm(BareVm&& other) noexcept
    : system_(other.system_),
      memory_(std::exchange(other.memory_, nullptr)),
      vm_(std::move(other.vm_)),
      vcpu_(std::move(other.vcpu_)),
      run_(std::exchange(other.run_, nullptr)) {}

BareVm::~BareVm() {
  system_->unmap_run(run_);
  if (memory_ != nullptr) munmap(memory_, kMemorySize);
}

Result<BareVm> BareVm::create(const KvmSystem& system) {
  BareVm vm(system);
  void* memory = mmap(nullptr, kMemorySize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return fail_errno("mmap of 4 MiB");
  vm.memory_ = static_cast<uint8_t*>(memory);
  vm.fill_memory();
  vm.vm_ = TRY(system.create_vm(vm.memory_, kMemorySize));
  vm.vcpu_ = TRY(system.create_vcpu_fd(vm.vm_));
  vm.run_ = TRY(system.map_run(vm.vcpu_));
  TRY_VOID(vm.set_registers());
  return vm;
}

void BareVm::fill_memory() {
  constexpr uint64_t kFlags = kPtePresent | kPteWritable | kPteUser | kPteAccessed | kPteDirty;
  const auto word = [&](uint64_t gpa) { return reinterpret_cast<uint64_t*>(memory_ + gpa); };
  *word(kL4) = kL3 | kFlags;
  *word(kL3) = kL2 | kFlags;
  *word(kL2) = kFlags | kPteLarge;
  memory_[kTss + kTssBitmapOffset] = kTssHeader;     // ports 0 to 255 allowed by the zeros behind it
  const uint8_t loop[] = {0xe6, kPort, 0xeb, 0xfc};  // out %al,$port; jmp to it
  memcpy(memory_ + kCode, loop, sizeof loop);
}

Status BareVm::set_registers() {
  if (ioctl(vcpu_.get(), kSetCpuid2, &system_->cpuid().list()) != 0) return fail_errno("KVM_SET_CPUID2");
  kvm_sregs& sregs = run_->s.regs.sregs;
  if (ioctl(vcpu_.get(), KVM_GET_SREGS, &sregs) != 0) return fail_errno("KVM_GET_SREGS");
  sregs.cr0 = kCr0Pe | kCr0Mp | kCr0Et | kCr0Ne | kCr0Wp | kCr0Pg;
  sregs.cr3 = kL4;
  sregs.cr4 = kCr4Pae | kCr4Osfxsr;
  sregs.efer = kEferSce | kEferLme | kEferLma | kEferNxe;
  sregs.cs = ring3_segment(FLAT_RING3_CS64, kCodeType, true);
  sregs.ss = sregs.ds = sregs.es = sregs.fs = sregs.gs = ring3_segment(FLAT_RING3_SS64, kDataType, false);
  sregs.tr = {};
  sregs.tr.base = kTss;
  sregs.tr.limit = kTssSize - 1;
  sregs.tr.type = kBusyTssType;
  sregs.tr.present = 1;
  kvm_regs& regs = run_->s.regs.regs;
  regs = {};
  regs.rip = kCode;
  regs.rsp = kStack;
  regs.rflags = 2;
  run_->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  run_->kvm_valid_regs = 0;  // nobody looks at them after an exit
  return {};
}

Status BareVm::run_to_exit() {
  // Bound: signals, which are rare here.
  while (ioctl(vcpu_.get(), KVM_RUN, 0) != 0) {
    if (errno != EINTR && errno != EAGAIN) return fail_errno("KVM_RUN");
  }
  if (run_->exit_reason != KVM_EXIT_IO || run_->io.port != kPort) {
    return fail(EIO, fmt::format("a bare virtual machine ended with KVM exit {}", run_->exit_reason));
  }
  return {};
}

}  // namespace xenopolis::vcpu::kvm
