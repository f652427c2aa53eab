// The vCPU's one-shot timer, which sends VIRQ_TIMER (<xen/vcpu.h>).
#pragma once

#include "runtime/hypercall.h"

namespace xenopolis::guest::timer {

// Absolute system time. A time that has passed fires at once, or with VCPU_SSHOTTMR_future answers -ETIME.
inline long set(uint64_t due_ns, uint32_t flags = 0) {
  vcpu_set_singleshot_timer_t call{.timeout_abs_ns = due_ns, .flags = flags};
  return vcpu_op(VCPUOP_set_singleshot_timer, 0, &call);
}

inline long stop() {
  return vcpu_op(VCPUOP_stop_singleshot_timer, 0, nullptr);
}

// The older way: set_timer_op(0) stops it.
inline long set_with_timer_op(uint64_t due_ns) {
  return hypercall<__HYPERVISOR_set_timer_op>(due_ns);
}

}  // namespace xenopolis::guest::timer
