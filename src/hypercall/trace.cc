#include "hypercall/trace.h"

#include <algorithm>

#include "machine/trace_ring.h"

namespace xenopolis::hypercall {
namespace {

// Which argument points to what says more than the arguments; -1: none.
int pointer_argument(uint64_t number) {
  switch (number) {
    case __HYPERVISOR_mmu_update:
    case __HYPERVISOR_mmuext_op:
    case __HYPERVISOR_set_gdt:
      return 0;
    case __HYPERVISOR_event_channel_op:
    case __HYPERVISOR_sched_op:
    case __HYPERVISOR_grant_table_op:
    case __HYPERVISOR_memory_op:
    case __HYPERVISOR_xen_version:
    case __HYPERVISOR_callback_op:
    case __HYPERVISOR_physdev_op:
      return 1;
    case __HYPERVISOR_console_io:
    case __HYPERVISOR_vcpu_op:
      return 2;
    default:
      return -1;
  }
}

// As it is when the call has returned, with what the call has answered there.
void copy_payload(Context& context, uint64_t address, machine::TraceRecord& record) {
  if (address == 0) return;
  const uint64_t to_page_end = kPageSize - address % kPageSize;
  const auto size = std::min<uint64_t>(record.payload.size(), to_page_end);
  if (context.memory.copy_in(address, record.payload.data(), size)) record.payload_size = static_cast<uint8_t>(size);
  // Structures across a page's end are aligned to 8, so the next page's part begins with a field.
  const auto rest = record.payload.size() - size;
  if (record.payload_size != 0 && rest != 0 &&
      context.memory.copy_in(address + size, record.payload.data() + size, rest)) {
    record.payload_size = static_cast<uint8_t>(record.payload.size());
  }
}

}  // namespace

void trace_call(Context& context, uint64_t number, const Arguments& arguments, int64_t result, uint64_t begin_ns) {
  machine::TraceRecord record{};
  record.time_ns = begin_ns;
  record.number = static_cast<uint32_t>(std::min<uint64_t>(number, ~0u));
  record.kind = context.in_multicall && number != __HYPERVISOR_multicall ? machine::TraceKind::kMulticall
                                                                         : machine::TraceKind::kHypercall;
  record.arguments = arguments;
  record.result = result;
  record.has_result = dispatch_sets_rax(number);
  const uint64_t now_ns = context.clock.now_ns();
  record.duration_ns = now_ns - std::min(now_ns, begin_ns);
  if (const int pointer = pointer_argument(number); pointer >= 0) {
    copy_payload(context, arguments[static_cast<size_t>(pointer)], record);
  }
  machine::append_trace(context.record.domid, record, now_ns);
}

}  // namespace xenopolis::hypercall
