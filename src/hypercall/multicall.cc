#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {
namespace {

constexpr size_t kResultOffset = offsetof(multicall_entry_t, result);
static_assert(sizeof(multicall_entry_t) == 64 && sizeof(multicall_entry_t::args) == sizeof(Arguments));

int64_t execute_entry(Context& context, const multicall_entry_t& entry) {
  // Nested ones would need a bound of their own; and an iret would leave the rest of the list to nobody.
  if (entry.op == __HYPERVISOR_multicall) return refuse(XenErrno::kInval);
  if (entry.op == __HYPERVISOR_iret) return refuse(XenErrno::kNoSys);
  Arguments arguments;
  std::memcpy(arguments.data(), entry.args, sizeof arguments);
  return execute(context, entry.op, arguments);
}

}  // namespace

// multicall(entries, count). Each entry's result is written into it. Xen takes any count and lets itself be preempted;
// here kMulticallLimit bounds the list and kWorkLimit all that is done for it: entries beyond answer -E2BIG.
int64_t multicall(Context& context, const Arguments& arguments) {
  const uint64_t count = arguments[1];
  if (context.in_multicall) return refuse(XenErrno::kInval);
  if (count > kMulticallLimit) return kTooBig;
  context.in_multicall = true;
  int64_t answer = 0;
  for (uint64_t i = 0; i < count && context.vcpu.after != domain::AfterHypercall::kShutdown; ++i) {
    const uint64_t address = arguments[0] + i * sizeof(multicall_entry_t);
    multicall_entry_t entry;
    if (!context.memory.read(address, entry)) {
      answer = refuse(XenErrno::kFault);
      break;
    }
    const int64_t result = execute_entry(context, entry);
    if (!context.memory.write(address + kResultOffset, static_cast<xen_ulong_t>(result))) {
      answer = refuse(XenErrno::kFault);
      break;
    }
  }
  context.in_multicall = false;
  return answer;
}

}  // namespace xenopolis::hypercall::handlers
