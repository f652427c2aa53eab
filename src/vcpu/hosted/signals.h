// The signals through which hosted guests are interrupted and their faults noticed.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace xenopolis::vcpu::hosted {

// A fault of guest code, in the CPU's terms.
struct Trap {
  uint8_t vector;
  uint32_t error_code;
  uint64_t fault_address;
};

// Takes over the kick signal, SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGTRAP of this process, from now until
// restore_signals(). Faults outside of guest code go on to whoever had the signal before.
Status take_signals();
void restore_signals();

// Makes the calling thread the one that runs guests: gives it a stack for the handlers. Cheap when it is already.
void become_runner_thread();

// The fault that made xenopolis_hosted_enter() return kBackTrapped.
const Trap& last_trap();

}  // namespace xenopolis::vcpu::hosted
