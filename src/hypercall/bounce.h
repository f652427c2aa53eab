// How a PV vCPU enters its kernel (exceptions, event upcalls, system calls) and leaves it (iret): Xen's stack frames.
//
// From low to high address: rcx, r11, [error code], rip, cs | upcall mask << 32, rflags, rsp, ss; 16-byte aligned
// above. A frame for an interruption of the kernel itself shows cs with RPL 0, which is how a guest (and iret) tells
// the two modes apart; rflags.IF shows "upcalls not masked". Source: create_bounce_frame, xen/arch/x86/x86_64/entry.S,
// and struct iret_context of <xen/arch-x86/xen-x86_64.h>.
#pragma once

#include <optional>

#include "domain/pv_vcpu.h"
#include "hypercall/hypercall.h"

namespace xenopolis::hypercall {

// The two flags of vcpu_info that guest and hypervisor share, as atomics.
inline bool upcalls_masked(const vcpu_info& info) {
  return __atomic_load_n(&info.evtchn_upcall_mask, __ATOMIC_RELAXED) != 0;
}
inline void set_upcalls_masked(vcpu_info& info, bool masked) {
  __atomic_store_n(&info.evtchn_upcall_mask, static_cast<uint8_t>(masked), __ATOMIC_RELAXED);
}
inline bool upcall_pending(const vcpu_info& info) {
  return __atomic_load_n(&info.evtchn_upcall_pending, __ATOMIC_ACQUIRE) != 0;
}
// The runner delivers an upcall before it enters the guest.
inline bool upcall_due(const vcpu_info& info) {
  return upcall_pending(info) && !upcalls_masked(info);
}

// Switches the vCPU to kernel or user mode: the mode's GS base becomes active. Page tables follow kernel_mode.
void set_kernel_mode(domain::PvVcpu& vcpu, bool kernel_mode);

// Each delivers one entry into the guest kernel and leaves `vcpu.registers` at the handler's first instruction. False:
// no handler, or its stack cannot be written; the domain must be crashed then (SHUTDOWN_crash), as Xen does.
//
// Exception `vector` with what the CPU pushed. For page faults (14) `fault_address` goes to vcpu_info's arch.cr2, and
// the error code's user bit is corrected: the CPU is in ring 3 in both modes.
[[nodiscard]] bool deliver_exception(domain::PvVcpu& vcpu, vcpu_info& info, GuestMemory& memory, uint8_t vector,
                                     std::optional<uint32_t> error_code, uint64_t fault_address = 0);
// Upcalls are masked until the guest unmasks them (iret of the frame does).
[[nodiscard]] bool deliver_event_upcall(domain::PvVcpu& vcpu, vcpu_info& info, GuestMemory& memory);
// Takes the pending NMI. There will be no other before the next iret hypercall.
inline constexpr uint8_t kNmiVector = 2;
[[nodiscard]] bool deliver_nmi(domain::PvVcpu& vcpu, vcpu_info& info, GuestMemory& memory);
// SYSCALL in user mode; registers.rip is behind the instruction.
[[nodiscard]] bool deliver_syscall(domain::PvVcpu& vcpu, vcpu_info& info, GuestMemory& memory);

// The iret hypercall: takes struct iret_context from the stack, restores RAX too. False: the stack cannot be read, RIP
// is not canonical, or it returns to a user mode without page tables (user_cr3); crash the domain. The vCPU is
// unchanged then.
[[nodiscard]] bool return_from_frame(domain::PvVcpu& vcpu, vcpu_info& info, GuestMemory& memory);

}  // namespace xenopolis::hypercall
