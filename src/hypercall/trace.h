// A hypercall for who traces its domain (machine/trace_ring.h).
#pragma once

#include "hypercall/hypercall.h"

namespace xenopolis::hypercall {

// Of a domain that is traced: the call has just returned.
void trace_call(Context& context, uint64_t number, const Arguments& arguments, int64_t result, uint64_t begin_ns);

}  // namespace xenopolis::hypercall
