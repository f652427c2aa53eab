// The hypercalls behind dispatch(), and what they have in common. Not for use outside src/hypercall/.
#pragma once

#include <optional>

#include "hypercall/hypercall.h"

namespace xenopolis::hypercall {

using Handler = int64_t (*)(Context&, const Arguments&);

inline constexpr int64_t refuse(XenErrno reason) {
  return -static_cast<int64_t>(reason);
}
inline constexpr int64_t kTooBig = -E2BIG;

// One call, without the bookkeeping of a new entry: multicall's entries.
int64_t execute(Context& context, uint64_t number, const Arguments& arguments);

// Takes `units` from what the present entry may still do. False, and nothing taken: the call must answer kTooBig.
inline bool take_work(Context& context, uint64_t units) {
  if (units > context.work_left) return false;
  context.work_left -= static_cast<uint32_t>(units);
  return true;
}

// An address that the CPU can use: bits 63..47 equal.
inline constexpr bool is_canonical(uint64_t address) {
  return static_cast<uint64_t>(static_cast<int64_t>(address << 16) >> 16) == address;
}

// The domain that a guest names: DOMID_SELF is the caller. nullopt: no ordinary domid.
inline std::optional<DomId> named_domain(const Context& context, uint16_t domid) {
  if (domid == DOMID_SELF) return context.record.domid;
  if (domid >= kDomIdCount) return std::nullopt;
  return domid;
}
inline bool names_itself(const Context& context, uint16_t domid) {
  return named_domain(context, domid) == context.record.domid;
}

// The domain has ended; the runner sees it when the hypercall returns.
inline void end_domain(Context& context, uint32_t reason) {
  context.vcpu.after = domain::AfterHypercall::kShutdown;
  context.vcpu.shutdown_reason = reason;
}

inline vcpu_info& info_of(Context& context) {
  return *context.events.info_of(context.record.domid, context.vcpu.id);
}

namespace handlers {

int64_t set_trap_table(Context& context, const Arguments& arguments);
int64_t mmu_update(Context& context, const Arguments& arguments);
int64_t set_gdt(Context& context, const Arguments& arguments);
int64_t stack_switch(Context& context, const Arguments& arguments);
int64_t set_callbacks(Context& context, const Arguments& arguments);
int64_t fpu_taskswitch(Context& context, const Arguments& arguments);
int64_t sched_op_compat(Context& context, const Arguments& arguments);
int64_t set_debugreg(Context& context, const Arguments& arguments);
int64_t get_debugreg(Context& context, const Arguments& arguments);
int64_t update_descriptor(Context& context, const Arguments& arguments);
int64_t memory_op(Context& context, const Arguments& arguments);
int64_t multicall(Context& context, const Arguments& arguments);
int64_t update_va_mapping(Context& context, const Arguments& arguments);
int64_t set_timer_op(Context& context, const Arguments& arguments);
int64_t event_channel_op_compat(Context& context, const Arguments& arguments);
int64_t xen_version(Context& context, const Arguments& arguments);
int64_t console_io(Context& context, const Arguments& arguments);
int64_t grant_table_op(Context& context, const Arguments& arguments);
int64_t vm_assist(Context& context, const Arguments& arguments);
int64_t update_va_mapping_otherdomain(Context& context, const Arguments& arguments);
int64_t iret(Context& context, const Arguments& arguments);
int64_t vcpu_op(Context& context, const Arguments& arguments);
int64_t set_segment_base(Context& context, const Arguments& arguments);
int64_t mmuext_op(Context& context, const Arguments& arguments);
int64_t sched_op(Context& context, const Arguments& arguments);
int64_t callback_op(Context& context, const Arguments& arguments);
int64_t event_channel_op(Context& context, const Arguments& arguments);
int64_t physdev_op(Context& context, const Arguments& arguments);

}  // namespace handlers
}  // namespace xenopolis::hypercall
