#include "hypercall/handlers.h"
#include "hypercall/trace.h"
#include "machine/statistics.h"
#include "machine/trace_ring.h"

namespace xenopolis::hypercall {
namespace {

int64_t not_there(Context&, const Arguments&) {
  return refuse(XenErrno::kNoSys);
}
// What Xen has for its control domain only.
int64_t not_permitted(Context&, const Arguments&) {
  return refuse(XenErrno::kPerm);
}

struct Hypercall {
  std::string_view name;
  Handler handler = nullptr;
};

constexpr unsigned kHypercallCount = 56;
static_assert(__HYPERVISOR_arch_7 + 1 == kHypercallCount);

constexpr std::array<Hypercall, kHypercallCount> make_table() {
  std::array<Hypercall, kHypercallCount> table{};
#define HYPERCALL(name, handler) table[__HYPERVISOR_##name] = {#name, handler}
  HYPERCALL(set_trap_table, handlers::set_trap_table);
  HYPERCALL(mmu_update, handlers::mmu_update);
  HYPERCALL(set_gdt, handlers::set_gdt);
  HYPERCALL(stack_switch, handlers::stack_switch);
  HYPERCALL(set_callbacks, handlers::set_callbacks);
  HYPERCALL(fpu_taskswitch, handlers::fpu_taskswitch);
  HYPERCALL(sched_op_compat, handlers::sched_op_compat);
  HYPERCALL(platform_op, not_permitted);
  HYPERCALL(set_debugreg, handlers::set_debugreg);
  HYPERCALL(get_debugreg, handlers::get_debugreg);
  HYPERCALL(update_descriptor, handlers::update_descriptor);
  HYPERCALL(memory_op, handlers::memory_op);
  HYPERCALL(multicall, handlers::multicall);
  HYPERCALL(update_va_mapping, handlers::update_va_mapping);
  HYPERCALL(set_timer_op, handlers::set_timer_op);
  HYPERCALL(event_channel_op_compat, handlers::event_channel_op_compat);
  HYPERCALL(xen_version, handlers::xen_version);
  HYPERCALL(console_io, handlers::console_io);
  HYPERCALL(physdev_op_compat, not_there);
  HYPERCALL(grant_table_op, handlers::grant_table_op);
  HYPERCALL(vm_assist, handlers::vm_assist);
  HYPERCALL(update_va_mapping_otherdomain, handlers::update_va_mapping_otherdomain);
  HYPERCALL(iret, handlers::iret);
  HYPERCALL(vcpu_op, handlers::vcpu_op);
  HYPERCALL(set_segment_base, handlers::set_segment_base);
  HYPERCALL(mmuext_op, handlers::mmuext_op);
  HYPERCALL(xsm_op, not_there);
  HYPERCALL(nmi_op, not_there);
  HYPERCALL(sched_op, handlers::sched_op);
  HYPERCALL(callback_op, handlers::callback_op);
  HYPERCALL(xenoprof_op, not_there);
  HYPERCALL(event_channel_op, handlers::event_channel_op);
  HYPERCALL(physdev_op, handlers::physdev_op);
  HYPERCALL(hvm_op, not_there);
  HYPERCALL(sysctl, not_permitted);
  HYPERCALL(domctl, not_permitted);
  HYPERCALL(kexec_op, not_permitted);
  HYPERCALL(tmem_op, not_there);
  HYPERCALL(argo_op, not_there);
  HYPERCALL(xenpmu_op, not_there);
  HYPERCALL(dm_op, not_there);
  HYPERCALL(hypfs_op, not_there);
  HYPERCALL(arch_0, not_there);
  HYPERCALL(arch_1, not_there);
  HYPERCALL(arch_2, not_there);
  HYPERCALL(arch_3, not_there);
  HYPERCALL(arch_4, not_there);
  HYPERCALL(arch_5, not_there);
  HYPERCALL(arch_6, not_there);
  HYPERCALL(arch_7, not_there);
#undef HYPERCALL
  return table;
}

constexpr auto kTable = make_table();

int64_t call_handler(Context& context, uint64_t number, const Arguments& arguments) {
  if (number >= kTable.size() || kTable[number].handler == nullptr) return refuse(XenErrno::kNoSys);
  return kTable[number].handler(context, arguments);
}

}  // namespace

int64_t execute(Context& context, uint64_t number, const Arguments& arguments) {
  // Both have one writer, the domain's runner.
  machine::count(context.record.hypercalls);
  if (machine::Statistics* mine = machine::my_statistics; mine != nullptr) {
    machine::count(mine->hypercalls[std::min<uint64_t>(number, mine->hypercalls.size() - 1)]);
  }
  if (!machine::is_traced(context.record.domid)) return call_handler(context, number, arguments);
  const uint64_t begin_ns = context.clock.now_ns();
  const int64_t result = call_handler(context, number, arguments);
  trace_call(context, number, arguments, result, begin_ns);
  return result;
}

int64_t dispatch(Context& context, uint64_t number, const Arguments& arguments) {
  context.vcpu.after = domain::AfterHypercall::kContinue;
  context.work_left = kWorkLimit;
  context.in_multicall = false;
  return execute(context, number, arguments);
}

std::string_view name_of(uint64_t number) {
  return number < kTable.size() && kTable[number].handler != nullptr ? kTable[number].name : "unknown";
}

}  // namespace xenopolis::hypercall
