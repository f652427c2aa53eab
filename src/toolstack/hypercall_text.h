// Hypercalls for people, in strace's manner: arguments by name, what they point to, what was answered.
#pragma once

#include <string>

#include "machine/trace_ring.h"

namespace xenopolis::toolstack {

// "sched_op"; "hypercall_99" where there is no such hypercall.
std::string hypercall_name(uint32_t number);

// "event_channel_op(EVTCHNOP_send, {port=3}) = 0". Printable, one line.
std::string hypercall_text(const machine::TraceRecord& record);

// It was answered with -errno.
bool has_failed(const machine::TraceRecord& hypercall);

}  // namespace xenopolis::toolstack
