// The end of a domain.
#pragma once

#include "runtime/hypercall.h"

namespace xenopolis::guest {

// reason: SHUTDOWN_* of <xen/sched.h>.
[[noreturn]] inline void shutdown(unsigned reason) {
  sched_shutdown_t argument{.reason = reason};
  for (;;) sched_op(SCHEDOP_shutdown, &argument);
}

}  // namespace xenopolis::guest
