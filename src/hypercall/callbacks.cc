#include "hypercall/bounce.h"
#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {
namespace {

constexpr uint8_t kMasksEvents = 4;  // of trap_info's flags

void set_nmi_handler(domain::PvVcpu& vcpu, uint64_t address) {
  std::erase_if(vcpu.trap_handlers, [](const domain::TrapHandler& handler) { return handler.vector == kNmiVector; });
  if (address != 0) vcpu.trap_handlers.push_back({address, domain::kKernelCs, kNmiVector, kMasksEvents});
}

int64_t register_callback(domain::PvVcpu& vcpu, const callback_register& callback) {
  if (!is_canonical(callback.address)) return refuse(XenErrno::kInval);
  switch (callback.type) {
    case CALLBACKTYPE_event:
      vcpu.callbacks.event = callback.address;
      return 0;
    case CALLBACKTYPE_failsafe:
      vcpu.callbacks.failsafe = callback.address;
      return 0;
    case CALLBACKTYPE_syscall:
      vcpu.callbacks.syscall = callback.address;
      vcpu.callbacks.syscall_masks_events = (callback.flags & CALLBACKF_mask_events) != 0;
      return 0;
    case CALLBACKTYPE_nmi:
      set_nmi_handler(vcpu, callback.address);
      return 0;
    // sysenter and syscall32: 32-bit programs; Linux does without them.
    default:
      return refuse(XenErrno::kNoSys);
  }
}

int64_t unregister_callback(domain::PvVcpu& vcpu, const callback_unregister& callback) {
  switch (callback.type) {
    case CALLBACKTYPE_event:
    case CALLBACKTYPE_failsafe:
    case CALLBACKTYPE_syscall:
      return refuse(XenErrno::kInval);
    case CALLBACKTYPE_nmi:
      set_nmi_handler(vcpu, 0);
      return 0;
    default:
      return refuse(XenErrno::kNoSys);
  }
}

}  // namespace

// set_callbacks(event, failsafe, syscall)
int64_t set_callbacks(Context& context, const Arguments& arguments) {
  for (unsigned i = 0; i < 3; ++i) {
    if (!is_canonical(arguments[i])) return refuse(XenErrno::kInval);
  }
  context.vcpu.callbacks = {.event = arguments[0], .failsafe = arguments[1], .syscall = arguments[2]};
  return 0;
}

// callback_op(command, argument)
int64_t callback_op(Context& context, const Arguments& arguments) {
  switch (arguments[0]) {
    case CALLBACKOP_register: {
      callback_register callback;
      if (!context.memory.read(arguments[1], callback)) return refuse(XenErrno::kFault);
      return register_callback(context.vcpu, callback);
    }
    case CALLBACKOP_unregister: {
      callback_unregister callback;
      if (!context.memory.read(arguments[1], callback)) return refuse(XenErrno::kFault);
      return unregister_callback(context.vcpu, callback);
    }
    default:
      return refuse(XenErrno::kNoSys);
  }
}

}  // namespace xenopolis::hypercall::handlers
