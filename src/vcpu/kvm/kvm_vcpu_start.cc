// Creation of a vCPU: what is set once.
#include <fmt/format.h>

#include <cstring>

#include "vcpu/kvm/cpu_bits.h"
#include "vcpu/kvm/hypercall_page.h"
#include "vcpu/kvm/kvm_vcpu.h"

namespace xenopolis::vcpu::kvm {
namespace {

constexpr uint64_t kControl0 = kCr0Pe | kCr0Mp | kCr0Et | kCr0Ne | kCr0Wp | kCr0Am | kCr0Pg;
constexpr uint64_t kControl4 = kCr4Pae | kCr4Osfxsr | kCr4Osxmmexcpt | kCr4Fsgsbase | kCr4Osxsave;
constexpr uint64_t kEfer = kEferSce | kEferLme | kEferLma | kEferNxe;

// SYSCALL clears these: TF, IF, DF, IOPL, NT, RF, AC (Xen's XEN_SYSCALL_MASK, xen/arch/x86/include/asm/processor.h,
// without VM).
constexpr uint64_t kSyscallFlagMask = 0x57700;

constexpr uint8_t kTypeBusyTss = 11;

}  // namespace

KvmVcpu::KvmVcpu(const KvmSystem& system, const machine::DomainMemory& memory, HypervisorArea area)
    : system_(system),
      domain_memory_(memory),
      area_(area),
      walker_(memory),
      guest_memory_(memory, walker_),
      tables_(memory, area_, walker_, *this),
      segments_(memory, tables_),
      emulator_(guest_memory_, memory, tables_, system.cpuid(), *this) {}

KvmVcpu::~KvmVcpu() {
  system_.unmap_run(run_);
}

Result<std::unique_ptr<KvmVcpu>> KvmVcpu::create(const KvmSystem& system, domain::PvVcpu& state,
                                                 const machine::DomainMemory& memory,
                                                 const builder::BuiltDomain& built) {
  const HypervisorArea area = TRY(HypervisorArea::create(memory));
  area.fill();
  std::unique_ptr<KvmVcpu> vcpu(new KvmVcpu(system, memory, area));
  vcpu->vm_ = TRY(system.create_vm(memory.extent.begin(), area.layout().total_pages() << kPageShift));
  vcpu->vcpu_ = TRY(system.create_vcpu_fd(vcpu->vm_));
  vcpu->run_ = TRY(system.map_run(vcpu->vcpu_));
  TRY_VOID(vcpu->start(state, built));
  return vcpu;
}

Status KvmVcpu::start(domain::PvVcpu& state, const builder::BuiltDomain& built) {
  if (ioctl_through_signals(vcpu_.get(), kSetCpuid2, &system_.cpuid().list()) != 0) return fail_errno("KVM_SET_CPUID2");
  kvm_xcrs xcrs{};
  xcrs.nr_xcrs = 1;
  xcrs.xcrs[0].value = system_.cpuid().xcr0();
  if (ioctl_through_signals(vcpu_.get(), KVM_SET_XCRS, &xcrs) != 0) {
    return fail_errno(fmt::format("KVM_SET_XCRS to {:#x}, which is what guests are shown", xcrs.xcrs[0].value));
  }
  TRY_VOID(set_model_specific_registers());
  show_host_tsc();
  if (ioctl_through_signals(vcpu_.get(), KVM_GET_SREGS, &run_->s.regs.sregs) != 0) return fail_errno("KVM_GET_SREGS");
  set_control_state();

  if (built.hypercall_page) {
    const uint64_t gpa = *built.hypercall_page - built.virtual_base;
    if (gpa % kPageSize != 0)
      return fail(EINVAL, fmt::format("hypercall page at {:#x}: not aligned", *built.hypercall_page));
    TRY_VOID(fill_hypercall_page(gpa >> kPageShift));
  }
  state.kernel_mode = true;
  state.registers = {};
  state.registers.rip = built.entry;
  state.registers.rsi = built.start_info;
  state.registers.rsp = built.stack;
  state.registers.rflags = kFlagsFixed;
  state.registers.cs = domain::kKernelCs;
  state.registers.ss = domain::kKernelSs;
  guest_memory_.attach(state);
  tables_.attach(state);
  if (!tables_.new_kernel_base(built.page_table_base >> kPageShift)) {
    return fail(EINVAL, fmt::format("no page tables at {:#x}", built.page_table_base));
  }
  tables_.flushed();  // KVM has seen none of it yet
  return {};
}

Status KvmVcpu::fill_hypercall_page(Gfn gfn) {
  uint8_t* page = domain_memory_.ram_page(gfn);
  if (page == nullptr) return fail(EINVAL, fmt::format("hypercall page at frame {:#x}: outside of the domain", gfn));
  write_hypercall_page(page);
  hypercall_gfn_ = gfn;
  hypercall_va_ = 0;
  return {};
}

Status KvmVcpu::set_model_specific_registers() {
  struct {
    CountedListHeader header{};
    kvm_msr_entry entries[3]{};
  } list;
  const auto add = [&](uint32_t index, uint64_t value) {
    list.entries[list.header.count].index = index;
    list.entries[list.header.count++].data = value;
  };
  add(kMsrStar, uint64_t{FLAT_RING3_CS32} << 48 | uint64_t{kSupervisorCs} << 32);
  add(kMsrLstar, pv_layout::kSyscallEntry);
  add(kMsrSyscallMask, kSyscallFlagMask);
  const int done = ioctl_through_signals(vcpu_.get(), kSetMsrs, &list);
  if (done < 0) return fail_errno("KVM_SET_MSRS");
  if (done != static_cast<int>(list.header.count)) {
    return fail(EOPNOTSUPP, fmt::format("KVM_SET_MSRS refused register {:#x}", list.entries[done].index));
  }
  return {};
}

// Guests compute the time from the host's time stamp counter, as under Xen. KVM starts a vCPU's counter at 0 otherwise;
// one that knows no offset lets the guest read the host's anyway.
void KvmVcpu::show_host_tsc() {
  uint64_t offset = 0;
  kvm_device_attr attribute{};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  attribute.addr = reinterpret_cast<uint64_t>(&offset);
  static_cast<void>(ioctl(vcpu_.get(), KVM_SET_DEVICE_ATTR, &attribute));
}

void KvmVcpu::set_control_state() {
  kvm_sregs& sregs = run_->s.regs.sregs;
  sregs.cr0 = kControl0;
  sregs.cr3 = 0;
  sregs.cr4 = kControl4;
  sregs.efer = kEfer;
  sregs.gdt.base = HypervisorArea::gdt_base();
  sregs.gdt.limit = HypervisorArea::gdt_limit();
  sregs.idt.base = area_.idt_base();
  sregs.idt.limit = HypervisorArea::idt_limit();
  sregs.tr = {};
  sregs.tr.selector = kTssSelector;
  sregs.tr.base = area_.tss_base();
  sregs.tr.limit = HypervisorArea::tss_limit();
  sregs.tr.type = kTypeBusyTss;
  sregs.tr.present = 1;
  sregs.ldt = {};
  sregs.ldt.unusable = 1;
  sregs.ds = sregs.es = sregs.fs = sregs.gs = null_segment();
  control_ = sregs;
  load_everything_ = true;
}

}  // namespace xenopolis::vcpu::kvm
