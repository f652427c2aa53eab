// System time, read without entering the hypervisor: vcpu_time_info and the TSC (<xen/xen.h>).
#pragma once

#include "runtime/domain.h"

namespace xenopolis::guest::clock {

// Nanoseconds of Xen system time: the time base of every timer and timeout of the ABI.
uint64_t now_ns();

uint64_t read_tsc();

// How long ago the TSC stood at `tsc`, in nanoseconds.
uint64_t since_ns(uint64_t tsc);

}  // namespace xenopolis::guest::clock
