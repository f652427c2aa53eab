#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {
namespace {

constexpr unsigned kVectorCount = 256;

void set_handler(domain::PvVcpu& vcpu, const domain::TrapHandler& handler) {
  for (domain::TrapHandler& present : vcpu.trap_handlers) {
    if (present.vector == handler.vector) {
      present = handler;
      return;
    }
  }
  vcpu.trap_handlers.push_back(handler);
}

}  // namespace

// set_trap_table(table): entries up to one with address 0; null clears all. Bound: one entry per vector, as a table
// that names a vector twice has no meaning.
int64_t set_trap_table(Context& context, const Arguments& arguments) {
  if (arguments[0] == 0) {
    context.vcpu.trap_handlers.clear();
    return 0;
  }
  for (uint64_t i = 0; i <= kVectorCount; ++i) {
    trap_info entry;
    if (!context.memory.read(arguments[0] + i * sizeof entry, entry)) return refuse(XenErrno::kFault);
    if (entry.address == 0) return 0;
    if (!is_canonical(entry.address)) return refuse(XenErrno::kInval);
    if (i == kVectorCount) break;
    if (!take_work(context, 1)) return kTooBig;
    set_handler(context.vcpu, {entry.address, entry.cs, entry.vector, entry.flags});
  }
  return kTooBig;
}

}  // namespace xenopolis::hypercall::handlers
