// The boundary between the runner and guest code, as boundary.S and the signal handlers (signals.cc) know it.
//
// The runner enters a guest by loading all its registers and IRETQ to the same privilege; the guest comes back through
// its hypercall page, or because a signal handler rewrites what sigreturn will restore. Where an interrupted RIP stands
// decides what a kick means:
//   [enter_begin, enter_end)  not yet in the guest: the entry is called off, the guest's registers are untouched
//   [exit_begin, exit_end)    about to be back: the kick is kept for the next entry
//   elsewhere, in_guest       guest code
//   elsewhere, !in_guest      the runner: the kick is kept for the next entry
#pragma once

#include <cstddef>
#include <cstdint>

#include "domain/pv_vcpu.h"
#include "vcpu/hosted/boundary_layout.h"

namespace xenopolis::vcpu::hosted {

// Written by the runner thread alone: by its code, boundary.S and its signal handlers.
struct Boundary {
  domain::Registers* registers;  // of the vCPU that is entered
  uint64_t runner_rsp;           // the runner's stack while the guest runs
  volatile uint32_t in_guest;    // from the begin of an entry to the end of an exit
  volatile uint32_t kicked;      // a kick that found no guest to interrupt
};
static_assert(offsetof(Boundary, registers) == BOUNDARY_REGISTERS);
static_assert(offsetof(Boundary, runner_rsp) == BOUNDARY_RUNNER_RSP);
static_assert(offsetof(Boundary, in_guest) == BOUNDARY_IN_GUEST);
static_assert(offsetof(Boundary, kicked) == BOUNDARY_KICKED);

static_assert(offsetof(domain::Registers, rax) == REGISTERS_RAX && offsetof(domain::Registers, rbx) == REGISTERS_RBX);
static_assert(offsetof(domain::Registers, rcx) == REGISTERS_RCX && offsetof(domain::Registers, rdx) == REGISTERS_RDX);
static_assert(offsetof(domain::Registers, rsi) == REGISTERS_RSI && offsetof(domain::Registers, rdi) == REGISTERS_RDI);
static_assert(offsetof(domain::Registers, rbp) == REGISTERS_RBP && offsetof(domain::Registers, rsp) == REGISTERS_RSP);
static_assert(offsetof(domain::Registers, r8) == REGISTERS_R8 && offsetof(domain::Registers, r9) == REGISTERS_R9);
static_assert(offsetof(domain::Registers, r10) == REGISTERS_R10 && offsetof(domain::Registers, r11) == REGISTERS_R11);
static_assert(offsetof(domain::Registers, r12) == REGISTERS_R12 && offsetof(domain::Registers, r13) == REGISTERS_R13);
static_assert(offsetof(domain::Registers, r14) == REGISTERS_R14 && offsetof(domain::Registers, r15) == REGISTERS_R15);
static_assert(offsetof(domain::Registers, rip) == REGISTERS_RIP);
static_assert(offsetof(domain::Registers, rflags) == REGISTERS_RFLAGS);

// What xenopolis_hosted_enter() returns.
inline constexpr uint32_t kBackInterrupted = BACK_INTERRUPTED;
inline constexpr uint32_t kBackHypercall = BACK_HYPERCALL;
inline constexpr uint32_t kBackTrapped = BACK_TRAPPED;

extern "C" {
extern Boundary xenopolis_hosted_boundary;
// Runs guest code from boundary.registers; kBackInterrupted at once when boundary.kicked is set.
uint32_t xenopolis_hosted_enter();
// Labels: no functions to call.
extern const char xenopolis_hosted_enter_begin[], xenopolis_hosted_enter_end[];
extern const char xenopolis_hosted_exit_begin[], xenopolis_hosted_exit_end[];
extern const char xenopolis_hosted_hypercall[];    // where the hypercall page jumps to
extern const char xenopolis_hosted_interrupted[];  // where sigreturn goes after a kick
extern const char xenopolis_hosted_trapped[];      // where sigreturn goes after a fault
extern const char xenopolis_hosted_sigreturn[];    // sa_restorer
}

}  // namespace xenopolis::vcpu::hosted
