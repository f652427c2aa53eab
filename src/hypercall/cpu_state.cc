// Registers that a PV kernel cannot set itself: kernel stack, segment bases, task-switched flag, debug registers.
#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {
namespace {

constexpr uint64_t kDebugControl = 7;
constexpr uint64_t kBreakpointEnables = 0xff;  // DR7: L0, G0 .. L3, G3

}  // namespace

// stack_switch(ss, rsp): where entries from user mode push their frames.
int64_t stack_switch(Context& context, const Arguments& arguments) {
  context.vcpu.kernel_ss = static_cast<uint16_t>(arguments[0] | 3);
  context.vcpu.kernel_rsp = arguments[1];
  return 0;
}

// set_segment_base(which, base). Called in kernel mode, whose GS base is the active one.
int64_t set_segment_base(Context& context, const Arguments& arguments) {
  if (context.mmu == nullptr) return refuse(XenErrno::kNoSys);  // FS and GS belong to the host there
  const uint64_t base = arguments[1];
  if (arguments[0] == SEGBASE_GS_USER_SEL) {
    // The base would come from the descriptor. Null selector: 0, as on Intel CPUs; others only 32-bit programs use.
    if ((base & 0xffff & ~3ull) != 0) return refuse(XenErrno::kNoSys);
    context.vcpu.gs_base_inactive = 0;
    return 0;
  }
  if (!is_canonical(base)) return refuse(XenErrno::kInval);
  switch (arguments[0]) {
    case SEGBASE_FS:
      context.vcpu.registers.fs_base = base;
      return 0;
    case SEGBASE_GS_USER:
      context.vcpu.gs_base_inactive = base;
      return 0;
    case SEGBASE_GS_KERNEL:
      context.vcpu.registers.gs_base = base;
      return 0;
    default:
      return refuse(XenErrno::kInval);
  }
}

// fpu_taskswitch(set): CR0.TS. It is always clear here; kernels that save the FPU eagerly never set it.
int64_t fpu_taskswitch(Context&, const Arguments& arguments) {
  return arguments[0] == 0 ? 0 : refuse(XenErrno::kNoSys);
}

// set_debugreg(register, value). Breakpoints do not exist: enabling one is refused, all else is only remembered.
int64_t set_debugreg(Context& context, const Arguments& arguments) {
  const uint64_t number = arguments[0], value = arguments[1];
  if (number > kDebugControl || number == 4 || number == 5) return refuse(XenErrno::kInval);
  if (number < 4 && !is_canonical(value)) return refuse(XenErrno::kPerm);
  if (number == kDebugControl && (value & kBreakpointEnables) != 0) return refuse(XenErrno::kNoSys);
  context.vcpu.debug_registers[number] = value;
  return 0;
}

// get_debugreg(register): the value is the answer, so that there is no telling it from an error, as in Xen.
int64_t get_debugreg(Context& context, const Arguments& arguments) {
  if (arguments[0] > kDebugControl || arguments[0] == 4 || arguments[0] == 5) return refuse(XenErrno::kInval);
  return static_cast<int64_t>(context.vcpu.debug_registers[arguments[0]]);
}

}  // namespace xenopolis::hypercall::handlers
