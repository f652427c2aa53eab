// Time as a PV guest reads it: vcpu_time_info, the wall clock of shared_info, and runstates.
#pragma once

#include "domain/pv_vcpu.h"
#include "hypercall/hypercall.h"

namespace xenopolis::hypercall {

// ns = ((tsc << shift, or >> -shift) * multiplier) >> 32 (<xen/xen.h>, struct vcpu_time_info).
struct TscScale {
  uint32_t multiplier = 0;
  int8_t shift = 0;
};
// For a TSC of `tsc_khz` (> 0). The multiplier keeps 32 significant bits.
TscScale tsc_scale(uint64_t tsc_khz);

// Two readings of the same instant.
struct TimeSample {
  uint64_t tsc = 0;
  uint64_t system_time_ns = 0;  // CLOCK_MONOTONIC
};

// Writes a new time into `time`, which the guest may read meanwhile: version is odd while the rest is inconsistent.
void update_vcpu_time(vcpu_time_info& time, const TscScale& scale, const TimeSample& sample);
// The copy that the guest asked for with VCPUOP_register_vcpu_time_memory_area, if it did. An area that is not mapped
// is left out, as in Xen.
void publish_vcpu_time(const domain::PvVcpu& vcpu, const vcpu_info& info, GuestMemory& memory);

// shared_info's wall clock: the time of day (ns since 1970) at system time 0.
void update_wall_clock(shared_info& shared, uint64_t wall_clock_ns_at_boot);

// The vCPU enters `state` (RUNSTATE_* of <xen/vcpu.h>): the time since the last change is charged to the old state.
void set_runstate(domain::PvVcpu& vcpu, int state, uint64_t now_ns);
// Copies the runstate to the area that the guest registered, if it did and the area is mapped. Not seen half-written,
// because the vCPU that could look does not run meanwhile; so XEN_RUNSTATE_UPDATE is never needed.
void publish_runstate(const domain::PvVcpu& vcpu, GuestMemory& memory);

}  // namespace xenopolis::hypercall
