// Short ways to say how a run ends.
#pragma once

#include "vcpu/backend.h"

namespace xenopolis::vcpu::kvm {

inline Exit trap(uint8_t vector) {
  Exit exit;
  exit.reason = ExitReason::kTrap;
  exit.vector = vector;
  return exit;
}

inline Exit trap(uint8_t vector, uint32_t error_code) {
  Exit exit = trap(vector);
  exit.has_error_code = true;
  exit.error_code = error_code;
  return exit;
}

inline Exit simple_exit(ExitReason reason) {
  Exit exit;
  exit.reason = reason;
  return exit;
}

}  // namespace xenopolis::vcpu::kvm
