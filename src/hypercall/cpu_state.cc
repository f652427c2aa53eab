// Registers that a PV kernel cannot set itself: kernel stack, segment bases, task-switched flag, debug registers.
#include "hypercall/handlers.h"
#include "machine/domain_memory.h"

namespace xenopolis::hypercall::handlers {
namespace {

constexpr uint64_t kDebugControl = 7;
constexpr uint64_t kBreakpointEnables = 0xff;  // DR7: L0, G0 .. L3, G3

// Selectors and segment descriptors (Intel SDM volume 3, 3.4).
constexpr uint16_t kSelectorRpl = 3;
constexpr uint16_t kSelectorLdt = 4;
constexpr uint64_t kDescriptorsPerPage = kPageSize / 8;

// Base of a data segment that ring 3 may load into GS; nullopt: loading it faults.
std::optional<uint64_t> base_of_user_segment(const Context& context, uint16_t selector) {
  const uint64_t index = selector / 8;
  if (index >= FIRST_RESERVED_GDT_ENTRY) return 0;  // Xen's flat segments
  if ((selector & kSelectorLdt) != 0 || index / kDescriptorsPerPage >= context.vcpu.gdt_frames.size()) {
    return std::nullopt;
  }
  const Gfn gfn = context.vcpu.gdt_frames[index / kDescriptorsPerPage];
  const uint8_t* page = machine::memory_of(context.record.domid).ram_page(gfn);
  if (page == nullptr) return std::nullopt;
  const uint64_t descriptor =
      __atomic_load_n(reinterpret_cast<const uint64_t*>(page) + index % kDescriptorsPerPage, __ATOMIC_RELAXED);
  constexpr uint64_t kPresentRing3Segment = 0xfull << 44;  // P, DPL 3, S
  if ((descriptor & kPresentRing3Segment) != kPresentRing3Segment) return std::nullopt;
  return (descriptor >> 16 & 0xff'ffff) | (descriptor >> 56 << 24);
}

// GS as `mov gs` in user mode would load it; a selector that faults there becomes null, as in Xen.
void load_user_gs(Context& context, uint16_t selector) {
  const bool is_null = (selector & ~kSelectorRpl) == 0;
  const std::optional<uint64_t> base = is_null ? 0 : base_of_user_segment(context, selector);
  context.vcpu.registers.gs = base ? selector : 0;
  context.vcpu.gs_base_inactive = base.value_or(0);
}

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
    load_user_gs(context, static_cast<uint16_t>(base));
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
