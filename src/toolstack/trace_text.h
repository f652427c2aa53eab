// Traces of domains for people, in strace's manner: hypercalls with their arguments by name, what they answered, and
// what happened between them.
#pragma once

#include <string>

#include "machine/trace_ring.h"

namespace xenopolis::toolstack {

// "event_channel_op", "trap", "syscall", "interrupt", "upcall", "wait", "end": what filters and sums go by.
std::string trace_name(const machine::TraceRecord& record);

// "event_channel_op(EVTCHNOP_send, {port=3}) = 0", "--- page fault at 0x10, code 0x6, rip 0x1000 ---",
// "+++ shut down: poweroff +++". Printable, one line; entries of a multicall, which come before it, begin with two
// blanks.
std::string trace_text(const machine::TraceRecord& record);

// Also one that was an entry of a multicall.
bool is_hypercall(const machine::TraceRecord& record);

}  // namespace xenopolis::toolstack
