// What the guest has done, when KVM_RUN returns.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "vcpu/kvm/cpu_bits.h"
#include "vcpu/kvm/exits.h"
#include "vcpu/kvm/hypercall_page.h"
#include "vcpu/kvm/kvm_vcpu.h"

namespace xenopolis::vcpu::kvm {
namespace {

using domain::PvVcpu;
using domain::Registers;

constexpr uint16_t kRpl = 3;
constexpr uint64_t kOutSize = 2;      // out %al,$port
constexpr uint64_t kSyscallSize = 2;  // 0f 05
constexpr uint64_t kIntSize = 2;      // cd nn

// Faults in a row at one address that look as if they should not happen, before the guest hears of them.
constexpr unsigned kMaxRepeatedFaults = 8;

}  // namespace

MaybeExit KvmVcpu::handle_exit(PvVcpu& state, KickScope& kick) {
  switch (run_->exit_reason) {
    case KVM_EXIT_IO:
      return handle_io(state, kick);
    case KVM_EXIT_MMIO:
      return fail_exit(fmt::format("access to guest-physical address {:#x}, which is not the domain's memory",
                                   run_->mmio.phys_addr));
    case KVM_EXIT_SHUTDOWN:
      return fail_exit("triple fault: no exception could be delivered; the hypervisor's pages are no longer mapped");
    case KVM_EXIT_INTERNAL_ERROR:
      return fail_exit(fmt::format("KVM internal error {}", run_->internal.suberror));
    case KVM_EXIT_FAIL_ENTRY:
      return fail_exit(fmt::format("the CPU refused the guest's state: hardware reason {:#x}",
                                   run_->fail_entry.hardware_entry_failure_reason));
    default:
      return fail_exit(fmt::format("unexpected KVM exit {}", run_->exit_reason));
  }
}

MaybeExit KvmVcpu::handle_io(PvVcpu& state, KickScope& kick) {
  const kvm_regs& regs = run_->s.regs.regs;
  const uint32_t port = run_->io.port;
  const bool is_ring0 = (run_->s.regs.sregs.cs.selector & kRpl) == 0;
  const bool is_out = run_->io.direction == KVM_EXIT_IO_OUT;

  // Where SYSCALL leads: in ring 3 on some KVMs, in ring 0 on others.
  const uint64_t entry_offset = regs.rip - pv_layout::kSyscallEntry;
  if (is_out && port == pv_layout::kSyscallEntryPort && (entry_offset == 0 || entry_offset == kOutSize)) {
    store(state);
    state.registers.cs = FLAT_USER_CS64;
    state.registers.ss = FLAT_USER_SS64;
    state.registers.rflags = (state.registers.r11 & kFlagsOfGuest) | kFlagsFixed;
    if (state.kernel_mode) patch_syscall(state, state.registers.rcx);
    return handle_syscall(state, state.registers.rcx);
  }
  if (is_ring0) {
    const auto vector = area_.exception_at(regs.rip);
    if (!is_out || !vector || *vector != port) return fail_exit("ring 0 code that is not the hypervisor's");
    return handle_exception(state, *vector);
  }
  if (!is_out) {
    // KVM stores the result and steps over the instruction at the next KVM_RUN, which must not go further.
    const kvm_regs before = regs;
    memset(reinterpret_cast<uint8_t*>(run_) + run_->io.data_offset, 0xff, run_->io.size * run_->io.count);
    run_->immediate_exit = 1;
    run_->kvm_dirty_regs = 0;
    ioctl(vcpu_.get(), KVM_RUN, 0);
    kick.defer();
    run_->s.regs.regs = before;
    store(state);
    return trap(kVectorGeneralProtection, 0);
  }
  store(state);
  if (state.kernel_mode && port == pv_layout::kHypercallPort && is_hypercall_site(regs.rip)) {
    return handle_hypercall(state);
  }
  if (state.kernel_mode && port == pv_layout::kPatchedSyscallPort) {
    for (uint64_t rip : {regs.rip, regs.rip + kOutSize}) {
      if (is_patched_site(rip)) return handle_syscall(state, rip);
    }
  }
  // OUT from anywhere else: #GP at the instruction. RIP is at it or behind it.
  uint8_t code[2] = {};
  if (guest_memory_.copy_code(active_cr3(state), regs.rip, code, sizeof code) < sizeof code || code[0] != 0xe6 ||
      code[1] != port) {
    const bool immediate = guest_memory_.copy_code(active_cr3(state), regs.rip - kOutSize, code, sizeof code) == 2 &&
                           code[0] == 0xe6 && code[1] == port;
    state.registers.rip -= immediate ? kOutSize : 1;
  }
  return trap(kVectorGeneralProtection, 0);
}

bool KvmVcpu::is_hypercall_site(uint64_t rip) {
  if (hypercall_va_ != 0 && rip - hypercall_va_ < kPageSize) return true;
  if (!hypercall_gfn_) return false;
  const auto where = walker_.translate(run_->s.regs.sregs.cr3, rip);
  if (!where || where->gpa >> kPageShift != *hypercall_gfn_) return false;
  hypercall_va_ = rip & ~(kPageSize - 1);
  return true;
}

// KVM leaves RIP at the OUT or behind it. The stub's next instruction is a RET, so its first byte tells.
MaybeExit KvmVcpu::handle_hypercall(PvVcpu& state) {
  constexpr uint64_t kOutOffset = 5, kIretOutOffset = 9;
  const uint64_t offset = state.registers.rip % kHypercallEntrySize;
  if (offset == kOutOffset || offset == kIretOutOffset) state.registers.rip += kOutSize;
  return simple_exit(ExitReason::kHypercall);
}

// SYSCALL in kernel mode is a hypercall, in user mode a system call (arch-x86/xen-x86_64.h).
MaybeExit KvmVcpu::handle_syscall(PvVcpu& state, uint64_t return_address) {
  state.registers.rip = return_address;
  state.registers.rcx = return_address;
  state.registers.r11 = state.registers.rflags;
  return simple_exit(state.kernel_mode ? ExitReason::kHypercall : ExitReason::kSyscall);
}

bool KvmVcpu::is_patched_site(uint64_t rip) const {
  return std::find(patched_sites_.begin(), patched_sites_.end(), rip) != patched_sites_.end();
}

// Kernels without the hypercall page have a SYSCALL instruction in a few places: an OUT there saves the CPU's detour.
void KvmVcpu::patch_syscall(const PvVcpu& state, uint64_t return_address) {
  const auto free_site = std::find(patched_sites_.begin(), patched_sites_.end(), 0);
  const uint64_t site = return_address - kSyscallSize;
  const bool in_one_page = site >> kPageShift == (return_address - 1) >> kPageShift;
  if (free_site == patched_sites_.end() || !in_one_page || return_address == 0) return;
  const auto where = walker_.translate(state.kernel_cr3, site);
  uint8_t* page = where ? domain_memory_.ram_page(where->gpa >> kPageShift) : nullptr;
  if (page == nullptr) return;
  uint8_t* code = page + where->gpa % kPageSize;
  if (code[0] != 0x0f || code[1] != 0x05) return;
  code[0] = 0xe6;
  code[1] = pv_layout::kPatchedSyscallPort;
  *free_site = return_address;
}

// --- exceptions

MaybeExit KvmVcpu::handle_exception(PvVcpu& state, unsigned vector) {
  const auto frame = area_.exception_frame(vector, run_->s.regs.regs.rsp);
  if (!frame || (frame->cs & kRpl) != kRpl) return fail_exit(fmt::format("exception {} in ring 0", vector));
  store(state);
  state.registers.rip = frame->rip;
  state.registers.cs = static_cast<uint16_t>(frame->cs);
  state.registers.rflags = frame->rflags;
  state.registers.rsp = frame->rsp;
  state.registers.ss = static_cast<uint16_t>(frame->ss);
  const auto error_code = static_cast<uint32_t>(frame->error_code);
  switch (vector) {
    case kVectorDebug:
      state.debug_registers[6] |= kDr6SingleStep;
      return trap(kVectorDebug);
    case kVectorBreakpoint:
    case kVectorOverflow:
      forget_soft_exception();
      return trap(static_cast<uint8_t>(vector));
    case kVectorInvalidOpcode:
      return handle_invalid_opcode(state);
    case kVectorDoubleFault:
      return fail_exit("double fault");
    case kVectorGeneralProtection:
      return handle_general_protection(state, error_code);
    case kVectorPageFault:
      return handle_page_fault(state, error_code);
    default:
      return pushes_error_code(vector) ? trap(static_cast<uint8_t>(vector), error_code)
                                       : trap(static_cast<uint8_t>(vector));
  }
}

MaybeExit KvmVcpu::handle_page_fault(PvVcpu& state, uint32_t error_code) {
  const uint64_t address = run_->s.regs.sregs.cr2;
  const uint64_t cr3 = active_cr3(state);
  // The guest's user code may have changed PKRU on a KVM that does not virtualise it; its kernel knows nothing of keys.
  if ((error_code & kFaultProtectionKey) != 0 && protection_key_faults_++ < kMaxRepeatedFaults &&
      clear_protection_keys()) {
    return std::nullopt;
  }
  protection_key_faults_ = 0;
  if (walker_.set_user_bits(cr3, address)) return std::nullopt;
  const auto where = walker_.translate(cr3, address);
  const bool is_write = (error_code & kFaultWrite) != 0;
  if (state.kernel_mode && emulator_.page_fault(state, address, where, is_write)) return std::nullopt;
  const bool allowed =
      where && where->user && (!is_write || where->writable) && ((error_code & kFaultFetch) == 0 || where->executable);
  if (allowed && (address != last_spurious_address_ || spurious_faults_ < kMaxRepeatedFaults)) {
    // The CPU or KVM worked with an older entry.
    spurious_faults_ = address == last_spurious_address_ ? spurious_faults_ + 1 : 0;
    last_spurious_address_ = address;
    tables_.flush_tlb();
    return std::nullopt;
  }
  spurious_faults_ = 0;
  emulator_.set_fault_address(address);
  // The user bit says in which of the guest's two modes it happened; the CPU knows only ring 3.
  uint32_t shown = error_code & (kFaultPresent | kFaultWrite | kFaultFetch);
  if (!state.kernel_mode) shown |= kFaultUser;
  Exit exit = trap(kVectorPageFault, shown);
  exit.fault_address = address;
  return exit;
}

MaybeExit KvmVcpu::handle_general_protection(PvVcpu& state, uint32_t error_code) {
  // `int n` through a gate that is not there or not for ring 3: error code = vector * 8 + 2 (IDT).
  constexpr uint32_t kIdt = 2;
  if ((error_code & 7) == kIdt) {
    const auto vector = static_cast<uint8_t>(error_code >> 3);
    const domain::TrapHandler* handler = state.trap_handler(vector);
    const unsigned lowest_privilege = state.kernel_mode ? 1 : 3;
    if (handler == nullptr || (handler->flags & 3u) < lowest_privilege)
      return trap(kVectorGeneralProtection, error_code);
    state.registers.rip += kIntSize;
    return trap(vector);
  }
  if (emulator_.privileged_instruction(state)) return std::nullopt;
  return trap(kVectorGeneralProtection, error_code);
}

MaybeExit KvmVcpu::handle_invalid_opcode(PvVcpu& state) {
  if (emulator_.forced_cpuid(state, active_cr3(state))) return std::nullopt;
  // Some KVMs answer `int n` in ring 3 with #UD.
  uint8_t code[kIntSize] = {};
  const bool is_int =
      guest_memory_.copy_code(active_cr3(state), state.registers.rip, code, sizeof code) == sizeof code &&
      code[0] == 0xcd;
  if (is_int) return handle_general_protection(state, code[1] * 8u + 2);
  return trap(kVectorInvalidOpcode);
}

bool KvmVcpu::clear_protection_keys() {
  XsaveArea area;
  if (ioctl(vcpu_.get(), kGetXsave, &area) != 0) return false;
  // XSAVE header and layout: Intel SDM volume 1, 13.4; component 9 is PKRU.
  constexpr uint32_t kPkru = 9;
  constexpr size_t kXstateBv = 512;
  const CpuidResult where = host_cpuid(0xd, kPkru);
  if (where.eax == 0 || where.ebx + sizeof(uint32_t) > sizeof area.bytes) return false;
  uint64_t present;
  memcpy(&present, area.bytes + kXstateBv, sizeof present);
  present |= 1u << kPkru;
  memcpy(area.bytes + kXstateBv, &present, sizeof present);
  memset(area.bytes + where.ebx, 0, sizeof(uint32_t));
  return ioctl(vcpu_.get(), kSetXsave, &area) == 0;
}

bool KvmVcpu::set_xcr0(uint64_t value) {
  if ((value & ~system_.cpuid().xcr0()) != 0 || (value & kXcr0X87) == 0) return false;
  kvm_xcrs xcrs{};
  xcrs.nr_xcrs = 1;
  xcrs.xcrs[0].value = value;
  return ioctl(vcpu_.get(), KVM_SET_XCRS, &xcrs) == 0;
}

bool KvmVcpu::set_hypercall_page(Gfn gfn) {
  return static_cast<bool>(fill_hypercall_page(gfn));
}

}  // namespace xenopolis::vcpu::kvm
