#include "hypercall/bounce.h"
#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {
namespace {

using domain::AfterHypercall;

// do_poll, xen/common/sched/core.c.
constexpr uint32_t kMaxPollPorts = 128;

int64_t yield(Context& context) {
  context.vcpu.after = AfterHypercall::kYield;
  return 0;
}

// Unmasks upcalls and waits for one; an event that is pending already must not be slept through.
int64_t block(Context& context) {
  vcpu_info& info = info_of(context);
  set_upcalls_masked(info, false);
  if (!upcall_pending(info)) context.vcpu.after = AfterHypercall::kBlock;
  return 0;
}

int64_t shutdown(Context& context, uint64_t argument) {
  sched_shutdown request;
  if (!context.memory.read(argument, request)) return refuse(XenErrno::kFault);
  end_domain(context, static_cast<uint8_t>(request.reason));
  return 0;
}

// System time, of which Xen's is signed (s_time_t): what would be negative has passed. 0: for ever.
std::optional<uint64_t> poll_deadline(uint64_t timeout) {
  if (timeout == 0) return std::nullopt;
  return static_cast<int64_t>(timeout) < 0 ? 0 : timeout;
}

int64_t poll(Context& context, uint64_t argument) {
  sched_poll request;
  if (!context.memory.read(argument, request)) return refuse(XenErrno::kFault);
  if (request.nr_ports > kMaxPollPorts) return refuse(XenErrno::kInval);
  Port ports[kMaxPollPorts];
  const auto address = reinterpret_cast<uint64_t>(request.ports.p);
  // Without ports the address may be anything.
  if (request.nr_ports != 0 && !context.memory.copy_in(address, ports, request.nr_ports * sizeof ports[0])) {
    return refuse(XenErrno::kFault);
  }
  if (upcall_due(info_of(context))) return 0;
  const XenResult<bool> pending =
      context.events.begin_poll(context.record.domid, context.vcpu.id, ports, request.nr_ports);
  if (!pending) return refuse(pending.error());
  if (*pending) return 0;
  context.vcpu.after = AfterHypercall::kPoll;
  context.vcpu.poll_deadline_ns = poll_deadline(request.timeout);
  return 0;
}

}  // namespace

// sched_op(command, argument)
int64_t sched_op(Context& context, const Arguments& arguments) {
  switch (arguments[0]) {
    case SCHEDOP_yield:
      return yield(context);
    case SCHEDOP_block:
      return block(context);
    case SCHEDOP_shutdown:
      return shutdown(context, arguments[1]);
    case SCHEDOP_poll:
      return poll(context, arguments[1]);
    case SCHEDOP_remote_shutdown:
      return refuse(XenErrno::kPerm);  // Dom0 asks the toolstack instead
    // shutdown_code, watchdog, pin_override
    default:
      return refuse(XenErrno::kNoSys);
  }
}

// sched_op_compat(command, reason): as before Xen 3.1.
int64_t sched_op_compat(Context& context, const Arguments& arguments) {
  switch (arguments[0]) {
    case SCHEDOP_yield:
      return yield(context);
    case SCHEDOP_block:
      return block(context);
    case SCHEDOP_shutdown:
      end_domain(context, static_cast<uint8_t>(arguments[1]));
      return 0;
    default:
      return refuse(XenErrno::kNoSys);
  }
}

}  // namespace xenopolis::hypercall::handlers
