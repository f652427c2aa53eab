// Exceptions: the trap table and one handler for all vectors.
#pragma once

#include "runtime/xen.h"

namespace xenopolis::guest::traps {

// In the order of traps.S. A handler may change it: that is where the guest goes on.
struct TrapFrame {
  uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
  uint64_t vector;
  uint64_t error_code;  // 0 for vectors that have none
  uint64_t rip;
  uint64_t cs;  // the upper half holds the upcall mask that was saved
  uint64_t rflags;
  uint64_t rsp;
  uint64_t ss;
};
static_assert(sizeof(TrapFrame) == 22 * 8);

enum Vector : uint8_t {
  kDivideError = 0,
  kNmi = 2,
  kBreakpoint = 3,
  kInvalidOpcode = 6,
  kGeneralProtection = 13,
  kPageFault = 14
};

using Handler = void (*)(TrapFrame&);

// Registers the handler for the vectors above and #DB. 0 or -errno.
long start(Handler handler);
// For NMIs alone.
long start_nmi(Handler handler);
long stop_nmi();

}  // namespace xenopolis::guest::traps
