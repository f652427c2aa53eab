#include "hypercall/bounce.h"
#include "hypercall/handlers.h"
#include "hypercall/time.h"
#include "machine/domain_memory.h"

namespace xenopolis::hypercall::handlers {
namespace {

constexpr uint64_t kMinPeriodNs = 1'000'000;  // as Xen: a faster tick is no use to anybody
constexpr uint64_t kMaxPeriodNs = 1'000'000'000ull << 20;

int64_t set_periodic_timer(Context& context, uint64_t argument) {
  vcpu_set_periodic_timer request;
  if (!context.memory.read(argument, request)) return refuse(XenErrno::kFault);
  if (request.period_ns < kMinPeriodNs || request.period_ns > kMaxPeriodNs) return refuse(XenErrno::kInval);
  context.vcpu.periodic_ns = request.period_ns;
  return 0;
}

int64_t set_singleshot_timer(Context& context, uint64_t argument) {
  vcpu_set_singleshot_timer request;
  if (!context.memory.read(argument, request)) return refuse(XenErrno::kFault);
  if ((request.flags & VCPU_SSHOTTMR_future) != 0 && request.timeout_abs_ns < context.clock.now_ns()) {
    return refuse(XenErrno::kTime);
  }
  context.vcpu.timer_ns = request.timeout_abs_ns;
  return 0;
}

// The new place is in RAM, within one page, and aligned: its words are used with atomic operations.
int64_t register_vcpu_info(Context& context, uint64_t argument) {
  vcpu_register_vcpu_info request;
  if (!context.memory.read(argument, request)) return refuse(XenErrno::kFault);
  if (request.offset > kPageSize - sizeof(vcpu_info) || request.offset % alignof(vcpu_info) != 0) {
    return refuse(XenErrno::kInval);
  }
  uint8_t* page = machine::memory_of(context.record.domid).ram_page(request.mfn);
  if (page == nullptr) return refuse(XenErrno::kInval);
  return to_hypercall_result(
      context.events.register_vcpu_info(context.record.domid, context.vcpu.id, page + request.offset));
}

int64_t register_runstate_area(Context& context, uint64_t argument) {
  vcpu_register_runstate_memory_area request;
  if (!context.memory.read(argument, request)) return refuse(XenErrno::kFault);
  context.vcpu.runstate_area = request.addr.p;
  publish_runstate(context.vcpu, context.memory);
  return 0;
}

int64_t register_time_area(Context& context, uint64_t argument) {
  vcpu_register_time_memory_area request;
  if (!context.memory.read(argument, request)) return refuse(XenErrno::kFault);
  context.vcpu.time_area = request.addr.p;
  publish_vcpu_time(context.vcpu, info_of(context), context.memory);
  return 0;
}

int64_t get_runstate(Context& context, uint64_t argument) {
  vcpu_runstate_info runstate = context.vcpu.runstate;
  const uint64_t now_ns = context.clock.now_ns();
  if (runstate.state_entry_time != 0 && now_ns > runstate.state_entry_time) {
    runstate.time[runstate.state] += now_ns - runstate.state_entry_time;
  }
  return context.memory.write(argument, runstate) ? 0 : refuse(XenErrno::kFault);
}

}  // namespace

// vcpu_op(command, vcpu, argument). Domains have one vCPU. -ENOENT for all others makes Linux stop looking for more.
int64_t vcpu_op(Context& context, const Arguments& arguments) {
  const uint64_t argument = arguments[2];
  if (arguments[1] != context.vcpu.id) return refuse(XenErrno::kNoEnt);
  switch (arguments[0]) {
    case VCPUOP_initialise:
      return refuse(XenErrno::kExist);
    case VCPUOP_up:
      return 0;
    case VCPUOP_down:
      end_domain(context, SHUTDOWN_poweroff);
      return 0;  // the last one: as Xen does
    case VCPUOP_is_up:
      return 1;
    case VCPUOP_get_runstate_info:
      return get_runstate(context, argument);
    case VCPUOP_register_runstate_memory_area:
      return register_runstate_area(context, argument);
    case VCPUOP_set_periodic_timer:
      return set_periodic_timer(context, argument);
    case VCPUOP_stop_periodic_timer:
      context.vcpu.periodic_ns = 0;
      return 0;
    case VCPUOP_set_singleshot_timer:
      return set_singleshot_timer(context, argument);
    case VCPUOP_stop_singleshot_timer:
      context.vcpu.timer_ns.reset();
      return 0;
    case VCPUOP_register_vcpu_info:
      return register_vcpu_info(context, argument);
    case VCPUOP_send_nmi:
      if (argument != 0) return refuse(XenErrno::kInval);
      // Without a handler it is lost, as in Xen.
      context.vcpu.nmi_pending = context.vcpu.trap_handler(kNmiVector) != nullptr;
      return 0;
    case VCPUOP_get_physid:
      return refuse(XenErrno::kInval);  // as for vCPUs that are not pinned
    case VCPUOP_register_vcpu_time_memory_area:
      return register_time_area(context, argument);
    default:
      return refuse(XenErrno::kNoSys);
  }
}

// set_timer_op(timeout): 0 stops the timer. What lies in the past fires at once; what is negative or absurdly far ahead
// fires in 100 ms, because Linux once asked for such and hung (do_set_timer_op, xen/common/sched/core.c).
int64_t set_timer_op(Context& context, const Arguments& arguments) {
  constexpr uint64_t kFarAhead = 1ull << 50;
  constexpr uint64_t kWorkaroundNs = 100'000'000;
  const uint64_t timeout = arguments[0], now_ns = context.clock.now_ns();
  if (timeout == 0) {
    context.vcpu.timer_ns.reset();
  } else if (timeout >> 63 != 0 || (timeout > now_ns && timeout - now_ns >= kFarAhead)) {
    context.vcpu.timer_ns = now_ns + kWorkaroundNs;
  } else {
    context.vcpu.timer_ns = timeout;
  }
  return 0;
}

}  // namespace xenopolis::hypercall::handlers
