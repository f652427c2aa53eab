// The state of one PV vCPU as Xen defines it: what hypercalls change and what the vCPU backends run from.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "domain/reservation.h"
#include "xen_abi/xen.h"

namespace xenopolis::domain {

// The guest's registers at the boundary between guest and hypervisor.
struct Registers {
  uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp;
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
  uint64_t rip, rflags;
  uint16_t cs, ss, ds, es, fs, gs;  // selectors as the guest sees them (kernel mode: RPL 3, see __KERNEL_CS below)
  uint64_t fs_base, gs_base;        // gs_base: the active one, of kernel or user mode
};

// Selectors of Xen's flat segments for 64-bit PV kernels (<xen/arch-x86/xen-x86_64.h>).
inline constexpr uint16_t kKernelCs = FLAT_RING3_CS64;
inline constexpr uint16_t kKernelSs = FLAT_RING3_SS64;

// An entry of set_trap_table (struct trap_info): flags bits 0-1: lowest privilege that may `int n`; bit 2: mask events.
struct TrapHandler {
  uint64_t address = 0;
  uint16_t cs = 0;
  uint8_t vector = 0;
  uint8_t flags = 0;
  bool masks_events() const { return (flags & 4) != 0; }
};

struct Callbacks {
  uint64_t event = 0;
  uint64_t failsafe = 0;
  uint64_t syscall = 0;
  bool syscall_masks_events = false;
};

// What the runner does when a hypercall has returned.
enum class AfterHypercall : uint8_t {
  kContinue,
  kYield,     // to the end of the run queue
  kBlock,     // until an event is pending (upcalls were unmasked)
  kPoll,      // until a polled port is pending or poll_deadline_ns
  kAgain,     // as kYield, then the same hypercall goes on: registers are as they were
  kShutdown,  // the domain has ended: shutdown_reason
};

// Lives in the cell that runs the vCPU and dies with it.
struct PvVcpu {
  DomId domid = 0;
  VcpuId id = 0;

  Registers registers{};
  bool kernel_mode = true;        // Xen's notion; the CPU is in ring 3 either way
  uint64_t gs_base_inactive = 0;  // of the mode that is not running
  uint64_t kernel_rsp = 0;        // stack_switch
  uint16_t kernel_ss = kKernelSs;
  uint64_t kernel_cr3 = 0;  // guest-physical address of the base page table; 0 in a flat (hosted) domain
  uint64_t user_cr3 = 0;    // 0: none
  Callbacks callbacks;
  std::vector<TrapHandler> trap_handlers;  // at most 256, one per vector
  bool nmi_pending = false;                // to be delivered as soon as it may
  bool in_nmi = false;                     // its handler has not made its iret yet
  uint64_t debug_registers[8] = {};
  std::vector<Gfn> gdt_frames;  // set_gdt: at most FIRST_RESERVED_GDT_PAGE, all of them RAM
  uint32_t iopl = 0;            // PHYSDEVOP_set_iopl; nobody has I/O ports here, so it opens nothing

  Reservation reservation;  // which frames the guest has given back

  std::optional<uint64_t> timer_ns;  // one-shot timer: system time at which VIRQ_TIMER is raised
  uint64_t periodic_ns = 0;          // periodic timer; 0: off

  AfterHypercall after = AfterHypercall::kContinue;
  std::optional<uint64_t> poll_deadline_ns;
  uint32_t shutdown_reason = 0;

  // Guest addresses registered with VCPUOP_register_*_memory_area; 0: none.
  uint64_t runstate_area = 0;
  uint64_t time_area = 0;
  vcpu_runstate_info runstate{};

  const TrapHandler* trap_handler(uint8_t vector) const {
    for (const TrapHandler& handler : trap_handlers) {
      if (handler.vector == vector) return &handler;
    }
    return nullptr;
  }
};

}  // namespace xenopolis::domain
