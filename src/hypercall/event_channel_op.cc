#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {
namespace {

// How many ports a reset looks at before others have their turn.
constexpr uint32_t kResetPorts = 1024;

// The operation's structure, copied in once; `call` answers and may change it.
template <class T, class Call>
int64_t with_input(Context& context, uint64_t argument, Call call) {
  T operation;
  if (!context.memory.read(argument, operation)) return refuse(XenErrno::kFault);
  return call(operation);
}

// The same, and copied out again if the call went well.
template <class T, class Call>
int64_t with_output(Context& context, uint64_t argument, Call call) {
  return with_input<T>(context, argument, [&](T& operation) {
    const int64_t answer = call(operation);
    if (answer == 0 && !context.memory.write(argument, operation)) return refuse(XenErrno::kFault);
    return answer;
  });
}

int64_t store_port(const XenResult<Port>& result, evtchn_port_t& port) {
  if (!result) return refuse(result.error());
  port = *result;
  return 0;
}

int64_t alloc_unbound(Context& context, evtchn_alloc_unbound& operation) {
  const auto domid = named_domain(context, operation.dom);
  if (!domid) return refuse(XenErrno::kSrch);
  // The remote domain may be created later, or never.
  return store_port(context.events.alloc_unbound(context.record.domid, *domid, operation.remote_dom), operation.port);
}

int64_t bind_interdomain(Context& context, evtchn_bind_interdomain& operation) {
  const auto remote = named_domain(context, operation.remote_dom);
  if (!remote) return refuse(XenErrno::kSrch);
  return store_port(context.events.bind_interdomain(context.record.domid, *remote, operation.remote_port),
                    operation.local_port);
}

int64_t status(Context& context, evtchn_status& operation) {
  const auto domid = named_domain(context, operation.dom);
  if (!domid) return refuse(XenErrno::kSrch);
  const XenResult<event::PortStatus> result = context.events.status(context.record.domid, *domid, operation.port);
  if (!result) return refuse(result.error());
  operation.status = result->status;
  operation.vcpu = result->vcpu;
  switch (result->status) {
    case EVTCHNSTAT_unbound:
      operation.u.unbound.dom = result->remote_domid;
      break;
    case EVTCHNSTAT_interdomain:
      operation.u.interdomain.dom = result->remote_domid;
      operation.u.interdomain.port = result->remote_port;
      break;
    case EVTCHNSTAT_virq:
      operation.u.virq = result->virq;
      break;
    default:
      break;
  }
  return 0;
}

int64_t reset(Context& context, const evtchn_reset& operation) {
  const auto domid = named_domain(context, operation.dom);
  if (!domid) return refuse(XenErrno::kSrch);
  if (!take_work(context, kResetPorts)) return kTooBig;  // a multicall of resets
  const XenResult<bool> done = context.events.reset_some(context.record.domid, *domid, kResetPorts);
  if (!done) return refuse(done.error());
  if (*done) return 0;
  // Many ports take long, and others wait for this runner. An entry of a multicall cannot be gone back to.
  if (context.in_multicall) return kTooBig;
  context.vcpu.after = domain::AfterHypercall::kAgain;
  return 0;
}

int64_t register_extended(Context& context, const evtchn_register_extended& operation) {
  const DomId self = context.record.domid;
  switch (operation.cmd) {
    case EVTCHN_REGISTER_3L_BITMAPS: {
      const auto& bitmaps = operation.u.bitmaps;
      return to_hypercall_result(context.events.register_bitmaps(self, bitmaps.pending_gfns, bitmaps.mask_gfns));
    }
    case EVTCHN_REGISTER_3L_SELECTOR: {
      const auto& selector = operation.u.selector;
      return to_hypercall_result(context.events.register_selector(self, operation.vcpu, selector.gfn, selector.offset));
    }
    default:
      return refuse(XenErrno::kNoSys);
  }
}

}  // namespace

// event_channel_op(command, argument): one structure a command. The port tables check what it says.
int64_t event_channel_op(Context& context, const Arguments& arguments) {
  event::EventChannels& events = context.events;
  const DomId self = context.record.domid;
  const uint64_t argument = arguments[1];
  switch (arguments[0]) {
    case EVTCHNOP_alloc_unbound:
      return with_output<evtchn_alloc_unbound>(context, argument,
                                               [&](auto& operation) { return alloc_unbound(context, operation); });
    case EVTCHNOP_bind_interdomain:
      return with_output<evtchn_bind_interdomain>(
          context, argument, [&](auto& operation) { return bind_interdomain(context, operation); });
    case EVTCHNOP_bind_virq:
      return with_output<evtchn_bind_virq>(context, argument, [&](auto& operation) {
        return store_port(events.bind_virq(self, operation.virq, operation.vcpu), operation.port);
      });
    case EVTCHNOP_bind_ipi:
      return with_output<evtchn_bind_ipi>(context, argument, [&](auto& operation) {
        return store_port(events.bind_ipi(self, operation.vcpu), operation.port);
      });
    case EVTCHNOP_close:
      return with_input<evtchn_close>(
          context, argument, [&](auto& operation) { return to_hypercall_result(events.close(self, operation.port)); });
    case EVTCHNOP_send:
      return with_input<evtchn_send>(
          context, argument, [&](auto& operation) { return to_hypercall_result(events.send(self, operation.port)); });
    case EVTCHNOP_status:
      return with_output<evtchn_status>(context, argument, [&](auto& operation) { return status(context, operation); });
    case EVTCHNOP_bind_vcpu:
      return with_input<evtchn_bind_vcpu>(context, argument, [&](auto& operation) {
        return to_hypercall_result(events.bind_vcpu(self, operation.port, operation.vcpu));
      });
    case EVTCHNOP_unmask:
      return with_input<evtchn_unmask>(
          context, argument, [&](auto& operation) { return to_hypercall_result(events.unmask(self, operation.port)); });
    case EVTCHNOP_reset:
      return with_input<evtchn_reset>(context, argument, [&](auto& operation) { return reset(context, operation); });
    case EVTCHNOP_init_control:
      return with_output<evtchn_init_control>(context, argument, [&](auto& operation) {
        return to_hypercall_result(
            events.init_control(self, operation.vcpu, operation.control_gfn, operation.offset, operation.link_bits));
      });
    case EVTCHNOP_expand_array:
      return with_input<evtchn_expand_array>(context, argument, [&](auto& operation) {
        return to_hypercall_result(events.expand_array(self, operation.array_gfn));
      });
    case EVTCHNOP_set_priority:
      return with_input<evtchn_set_priority>(context, argument, [&](auto& operation) {
        return to_hypercall_result(events.set_priority(self, operation.port, operation.priority));
      });
    case EVTCHNOP_query_extended_abis:
      return with_output<evtchn_query_extended_abis>(context, argument, [&](auto& operation) {
        operation.abis = events.extended_abis(self);
        return 0;
      });
    case EVTCHNOP_register_extended:
      return with_input<evtchn_register_extended>(
          context, argument, [&](auto& operation) { return register_extended(context, operation); });
    case EVTCHNOP_bind_pirq:
      // What Xen answers a domain that was given no device.
      return with_input<evtchn_bind_pirq>(context, argument, [](auto&) { return refuse(XenErrno::kPerm); });
    default:
      return refuse(XenErrno::kNoSys);
  }
}

// event_channel_op_compat(operation): command and structure in one, as before Xen 3.2.
int64_t event_channel_op_compat(Context& context, const Arguments& arguments) {
  uint32_t command;
  if (!context.memory.read(arguments[0], command)) return refuse(XenErrno::kFault);
  if (command > EVTCHNOP_unmask) return refuse(XenErrno::kNoSys);
  return event_channel_op(context, {command, arguments[0] + offsetof(evtchn_op, u)});
}

}  // namespace xenopolis::hypercall::handlers
