#include "toolstack/hypercall_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>

#include "domain/registry.h"
#include "hypercall/hypercall.h"

namespace xenopolis::toolstack {
namespace {

using machine::TraceRecord;

std::string domid_name(uint64_t domid) {
  return domid == DOMID_SELF ? "DOMID_SELF" : std::to_string(domid);
}

// Guests say when, people want to know how long.
std::string time_from(uint64_t now_ns, uint64_t when_ns) {
  return fmt::format("{:+.3f} ms", (static_cast<double>(when_ns) - static_cast<double>(now_ns)) / 1e6);
}

std::string quoted(std::string_view text, bool is_cut) {
  std::string result = "\"";
  for (const char byte : text) {
    if (byte == '\n') {
      result += "\\n";
    } else if (byte == '"' || byte == '\\') {
      result += {'\\', byte};
    } else if (byte >= ' ' && byte <= '~') {
      result += byte;
    } else {
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    }
  }
  return result + (is_cut ? "\"..." : "\"");
}

// What has a name among the values of an argument, and how to show the structure that another argument points to
// then: nothing if that could not be read whole. Without `members` its address is shown.
struct Named {
  uint64_t value;
  std::string_view name;
  std::optional<std::string> (*members)(const TraceRecord& record) = nullptr;
};
#define NAMED(constant) constant, #constant

const Named* find(std::span<const Named> table, uint64_t value) {
  const auto found = std::find_if(table.begin(), table.end(), [&](const Named& row) { return row.value == value; });
  return found == table.end() ? nullptr : &*found;
}

std::string one_of(std::span<const Named> table, uint64_t value, std::string_view what) {
  const Named* row = find(table, value);
  return row == nullptr ? fmt::format("{} {}", what, value) : std::string(row->name);
}

// --- the members of structures

constexpr Named kCallbacks[] = {{NAMED(CALLBACKTYPE_event)},    {NAMED(CALLBACKTYPE_failsafe)},
                                {NAMED(CALLBACKTYPE_syscall)},  {NAMED(CALLBACKTYPE_nmi)},
                                {NAMED(CALLBACKTYPE_sysenter)}, {NAMED(CALLBACKTYPE_syscall32)}};

constexpr Named kMmuExtensions[] = {
    {NAMED(MMUEXT_PIN_L1_TABLE)},    {NAMED(MMUEXT_PIN_L2_TABLE)},  {NAMED(MMUEXT_PIN_L3_TABLE)},
    {NAMED(MMUEXT_PIN_L4_TABLE)},    {NAMED(MMUEXT_UNPIN_TABLE)},   {NAMED(MMUEXT_NEW_BASEPTR)},
    {NAMED(MMUEXT_TLB_FLUSH_LOCAL)}, {NAMED(MMUEXT_INVLPG_LOCAL)},  {NAMED(MMUEXT_TLB_FLUSH_MULTI)},
    {NAMED(MMUEXT_INVLPG_MULTI)},    {NAMED(MMUEXT_TLB_FLUSH_ALL)}, {NAMED(MMUEXT_INVLPG_ALL)},
    {NAMED(MMUEXT_FLUSH_CACHE)},     {NAMED(MMUEXT_SET_LDT)},       {NAMED(MMUEXT_NEW_USER_BASEPTR)}};

// EVTCHNOP_close, send and unmask take the same.
std::string describe(const evtchn_send& op) {
  return fmt::format("port={}", op.port);
}
std::string describe(const evtchn_bind_interdomain& op) {
  return fmt::format("remote_dom={}, remote_port={}, local_port={}", domid_name(op.remote_dom), op.remote_port,
                     op.local_port);
}
std::string describe(const evtchn_bind_virq& op) {
  return fmt::format("virq={}, vcpu={}, port={}", op.virq, op.vcpu, op.port);
}
std::string describe(const evtchn_alloc_unbound& op) {
  return fmt::format("dom={}, remote_dom={}, port={}", domid_name(op.dom), domid_name(op.remote_dom), op.port);
}
std::string describe(const evtchn_bind_ipi& op) {
  return fmt::format("vcpu={}, port={}", op.vcpu, op.port);
}
std::string describe(const evtchn_status& op) {
  return fmt::format("dom={}, port={}, status={}, vcpu={}", domid_name(op.dom), op.port, op.status, op.vcpu);
}
std::string describe(const evtchn_bind_vcpu& op) {
  return fmt::format("port={}, vcpu={}", op.port, op.vcpu);
}
std::string describe(const evtchn_init_control& op) {
  return fmt::format("control_gfn={:#x}, offset={}, vcpu={}, link_bits={}", op.control_gfn, op.offset, op.vcpu,
                     op.link_bits);
}
std::string describe(const evtchn_expand_array& op) {
  return fmt::format("array_gfn={:#x}", op.array_gfn);
}
std::string describe(const evtchn_set_priority& op) {
  return fmt::format("port={}, priority={}", op.port, op.priority);
}
std::string describe(const evtchn_reset& op) {
  return fmt::format("dom={}", domid_name(op.dom));
}
std::string describe(const sched_shutdown& op) {
  return fmt::format("reason={}", domain::name_of_shutdown(op.reason));
}
std::string describe(const sched_poll& op, uint64_t now_ns) {
  return fmt::format("nr_ports={}, timeout={}", op.nr_ports, op.timeout == 0 ? "none" : time_from(now_ns, op.timeout));
}
std::string describe(const sched_watchdog& op) {
  return fmt::format("id={}, timeout={} s", op.id, op.timeout);
}
std::string describe(const gnttab_setup_table& op) {
  return fmt::format("dom={}, nr_frames={}, status={}", domid_name(op.dom), op.nr_frames, op.status);
}
std::string describe(const gnttab_query_size& op) {
  return fmt::format("dom={}, nr_frames={}, max_nr_frames={}, status={}", domid_name(op.dom), op.nr_frames,
                     op.max_nr_frames, op.status);
}
std::string describe(const xen_memory_reservation& op) {
  return fmt::format("nr_extents={}, extent_order={}, domid={}", op.nr_extents, op.extent_order, domid_name(op.domid));
}
std::string describe(const xen_feature_info& info) {
  return fmt::format("submap_idx={}, submap={:#x}", info.submap_idx, info.submap);
}
std::string describe(const vcpu_set_periodic_timer& op) {
  return fmt::format("period={:.3f} ms", static_cast<double>(op.period_ns) / 1e6);
}
std::string describe(const vcpu_set_singleshot_timer& op, uint64_t now_ns) {
  return fmt::format("timeout={}", time_from(now_ns, op.timeout_abs_ns));
}
std::string describe(const callback_register& op) {
  return fmt::format("type={}, flags={:#x}, address={:#x}", one_of(kCallbacks, op.type, "type"), op.flags,
                     static_cast<uint64_t>(op.address));
}
std::string describe(const mmu_update_t& update) {
  return fmt::format("ptr={:#x}, val={:#x}", update.ptr, update.val);
}
std::string describe(const mmuext_op_t& op) {
  return fmt::format("{}, {:#x}", one_of(kMmuExtensions, op.cmd, "cmd"), op.arg1.mfn);
}

template <class T>
std::optional<std::string> as(const TraceRecord& record) {
  T value;
  if (record.payload_size < sizeof value) return std::nullopt;
  std::memcpy(&value, record.payload.data(), sizeof value);
  if constexpr (requires { describe(value, record.time_ns); }) {
    return "{" + describe(value, record.time_ns) + "}";
  } else {
    return "{" + describe(value) + "}";
  }
}

// --- the operations of hypercalls

constexpr Named kEventOperations[] = {{NAMED(EVTCHNOP_bind_interdomain), as<evtchn_bind_interdomain>},
                                      {NAMED(EVTCHNOP_bind_virq), as<evtchn_bind_virq>},
                                      {NAMED(EVTCHNOP_bind_pirq)},
                                      {NAMED(EVTCHNOP_close), as<evtchn_send>},
                                      {NAMED(EVTCHNOP_send), as<evtchn_send>},
                                      {NAMED(EVTCHNOP_status), as<evtchn_status>},
                                      {NAMED(EVTCHNOP_alloc_unbound), as<evtchn_alloc_unbound>},
                                      {NAMED(EVTCHNOP_bind_ipi), as<evtchn_bind_ipi>},
                                      {NAMED(EVTCHNOP_bind_vcpu), as<evtchn_bind_vcpu>},
                                      {NAMED(EVTCHNOP_unmask), as<evtchn_send>},
                                      {NAMED(EVTCHNOP_reset), as<evtchn_reset>},
                                      {NAMED(EVTCHNOP_init_control), as<evtchn_init_control>},
                                      {NAMED(EVTCHNOP_expand_array), as<evtchn_expand_array>},
                                      {NAMED(EVTCHNOP_set_priority), as<evtchn_set_priority>}};

constexpr Named kSchedOperations[] = {{NAMED(SCHEDOP_yield)},
                                      {NAMED(SCHEDOP_block)},
                                      {NAMED(SCHEDOP_shutdown), as<sched_shutdown>},
                                      {NAMED(SCHEDOP_poll), as<sched_poll>},
                                      {NAMED(SCHEDOP_remote_shutdown)},
                                      {NAMED(SCHEDOP_shutdown_code), as<sched_shutdown>},
                                      {NAMED(SCHEDOP_watchdog), as<sched_watchdog>},
                                      {NAMED(SCHEDOP_pin_override)}};

constexpr Named kGrantOperations[] = {{NAMED(GNTTABOP_map_grant_ref)},
                                      {NAMED(GNTTABOP_unmap_grant_ref)},
                                      {NAMED(GNTTABOP_setup_table), as<gnttab_setup_table>},
                                      {NAMED(GNTTABOP_dump_table)},
                                      {NAMED(GNTTABOP_transfer)},
                                      {NAMED(GNTTABOP_copy)},
                                      {NAMED(GNTTABOP_query_size), as<gnttab_query_size>},
                                      {NAMED(GNTTABOP_unmap_and_replace)},
                                      {NAMED(GNTTABOP_set_version)},
                                      {NAMED(GNTTABOP_get_status_frames)},
                                      {NAMED(GNTTABOP_get_version)},
                                      {NAMED(GNTTABOP_swap_grant_ref)},
                                      {NAMED(GNTTABOP_cache_flush)}};

constexpr Named kMemoryOperations[] = {{NAMED(XENMEM_increase_reservation), as<xen_memory_reservation>},
                                       {NAMED(XENMEM_decrease_reservation), as<xen_memory_reservation>},
                                       {NAMED(XENMEM_populate_physmap), as<xen_memory_reservation>},
                                       {NAMED(XENMEM_maximum_ram_page)},
                                       {NAMED(XENMEM_current_reservation)},
                                       {NAMED(XENMEM_maximum_reservation)},
                                       {NAMED(XENMEM_machphys_mfn_list)},
                                       {NAMED(XENMEM_add_to_physmap)},
                                       {NAMED(XENMEM_memory_map)},
                                       {NAMED(XENMEM_machine_memory_map)},
                                       {NAMED(XENMEM_exchange)},
                                       {NAMED(XENMEM_machphys_mapping)}};

constexpr Named kVersions[] = {{NAMED(XENVER_version)},
                               {NAMED(XENVER_extraversion)},
                               {NAMED(XENVER_compile_info)},
                               {NAMED(XENVER_capabilities)},
                               {NAMED(XENVER_changeset)},
                               {NAMED(XENVER_platform_parameters)},
                               {NAMED(XENVER_get_features), as<xen_feature_info>},
                               {NAMED(XENVER_pagesize)},
                               {NAMED(XENVER_guest_handle)},
                               {NAMED(XENVER_commandline)},
                               {NAMED(XENVER_build_id)}};

constexpr Named kVcpuOperations[] = {{NAMED(VCPUOP_initialise)},
                                     {NAMED(VCPUOP_up)},
                                     {NAMED(VCPUOP_down)},
                                     {NAMED(VCPUOP_is_up)},
                                     {NAMED(VCPUOP_get_runstate_info)},
                                     {NAMED(VCPUOP_register_runstate_memory_area)},
                                     {NAMED(VCPUOP_set_periodic_timer), as<vcpu_set_periodic_timer>},
                                     {NAMED(VCPUOP_stop_periodic_timer)},
                                     {NAMED(VCPUOP_set_singleshot_timer), as<vcpu_set_singleshot_timer>},
                                     {NAMED(VCPUOP_stop_singleshot_timer)},
                                     {NAMED(VCPUOP_register_vcpu_info)},
                                     {NAMED(VCPUOP_send_nmi)},
                                     {NAMED(VCPUOP_get_physid)},
                                     {NAMED(VCPUOP_register_vcpu_time_memory_area)}};

constexpr Named kCallbackOperations[] = {{NAMED(CALLBACKOP_register), as<callback_register>},
                                         {NAMED(CALLBACKOP_unregister), as<callback_register>}};
#undef NAMED

// --- what stands between the brackets

std::string operation(std::span<const Named> table, const TraceRecord& record) {
  return one_of(table, record.arguments[0], "operation");
}

// What `address` points to, or that.
std::string pointed_to(std::span<const Named> table, const TraceRecord& record, uint64_t address) {
  const Named* row = find(table, record.arguments[0]);
  const auto members = row == nullptr || row->members == nullptr ? std::nullopt : row->members(record);
  return members ? *members : fmt::format("{:#x}", address);
}

// As most are: the operation, and its structure.
std::string operation_on_structure(std::span<const Named> table, const TraceRecord& record) {
  return operation(table, record) + ", " + pointed_to(table, record, record.arguments[1]);
}

std::string sched_op(const TraceRecord& record) {
  const bool is_alone = record.arguments[0] == SCHEDOP_yield || record.arguments[0] == SCHEDOP_block;
  return is_alone ? operation(kSchedOperations, record) : operation_on_structure(kSchedOperations, record);
}

std::string grant_table_op(const TraceRecord& record) {
  return fmt::format("{}, {}", operation_on_structure(kGrantOperations, record), record.arguments[2]);
}

std::string xen_version(const TraceRecord& record) {
  const std::string buffer = pointed_to(kVersions, record, record.arguments[1]);
  return fmt::format("{}, {}", one_of(kVersions, record.arguments[0], "what"), buffer == "0x0" ? "NULL" : buffer);
}

std::string vcpu_op(const TraceRecord& record) {
  return fmt::format("{}, {}, {}", operation(kVcpuOperations, record), record.arguments[1],
                     pointed_to(kVcpuOperations, record, record.arguments[2]));
}

// The first of several.
template <class T>
std::string list(const TraceRecord& record) {
  return fmt::format("{}{}, {}", as<T>(record).value_or(fmt::format("{:#x}", record.arguments[0])),
                     record.arguments[1] > 1 ? "..." : "", record.arguments[1]);
}

std::string console_io(const TraceRecord& record) {
  const uint64_t size = record.arguments[1];
  if (record.arguments[0] != CONSOLEIO_write)
    return fmt::format("CONSOLEIO_read, {}, {:#x}", size, record.arguments[2]);
  const auto shown = std::min<uint64_t>(size, record.payload_size);
  const std::string_view text(reinterpret_cast<const char*>(record.payload.data()), shown);
  return fmt::format("CONSOLEIO_write, {}, {}", size, quoted(text, shown < size));
}

std::string set_timer_op(const TraceRecord& record) {
  return record.arguments[0] == 0 ? "0" : time_from(record.time_ns, record.arguments[0]);
}

std::string plain(const TraceRecord& record, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += fmt::format("{}{:#x}", i == 0 ? "" : ", ", record.arguments[i]);
  return text;
}

std::string arguments_text(const TraceRecord& record) {
  switch (record.number) {
    case __HYPERVISOR_event_channel_op:
      return operation_on_structure(kEventOperations, record);
    case __HYPERVISOR_sched_op:
      return sched_op(record);
    case __HYPERVISOR_grant_table_op:
      return grant_table_op(record);
    case __HYPERVISOR_memory_op:
      return operation_on_structure(kMemoryOperations, record);
    case __HYPERVISOR_xen_version:
      return xen_version(record);
    case __HYPERVISOR_vcpu_op:
      return vcpu_op(record);
    case __HYPERVISOR_mmu_update:
      return list<mmu_update_t>(record) + ", " + domid_name(record.arguments[3]);
    case __HYPERVISOR_mmuext_op:
      return list<mmuext_op_t>(record);
    case __HYPERVISOR_console_io:
      return console_io(record);
    case __HYPERVISOR_set_timer_op:
      return set_timer_op(record);
    case __HYPERVISOR_callback_op:
      return operation_on_structure(kCallbackOperations, record);
    case __HYPERVISOR_iret:
      return "";
    case __HYPERVISOR_fpu_taskswitch:
    case __HYPERVISOR_set_trap_table:
    case __HYPERVISOR_get_debugreg:
      return plain(record, 1);
    case __HYPERVISOR_multicall:
    case __HYPERVISOR_set_gdt:
    case __HYPERVISOR_stack_switch:
    case __HYPERVISOR_set_segment_base:
    case __HYPERVISOR_update_descriptor:
    case __HYPERVISOR_vm_assist:
    case __HYPERVISOR_physdev_op:
    case __HYPERVISOR_set_debugreg:
      return plain(record, 2);
    default:
      return plain(record, 3);
  }
}

std::string result_text(const TraceRecord& record) {
  if (record.has_result == 0) return "= ?";
  if (has_failed(record)) {
    const char* name = strerrorname_np(static_cast<int>(-record.result));
    return fmt::format("= {} {}", record.result, name == nullptr ? "" : name);
  }
  return record.result >= 0 && record.result < 0x100000 ? fmt::format("= {}", record.result)
                                                        : fmt::format("= {:#x}", static_cast<uint64_t>(record.result));
}

}  // namespace

std::string hypercall_name(uint32_t number) {
  const std::string_view name = hypercall::name_of(number);
  return name == "unknown" ? fmt::format("hypercall_{}", number) : std::string(name);
}

std::string hypercall_text(const TraceRecord& record) {
  return fmt::format("{}({}) {}", hypercall_name(record.number), arguments_text(record), result_text(record));
}

// Xen's numbers are Linux's (<xen/errno.h>), up to where Linux's end.
bool has_failed(const TraceRecord& hypercall) {
  return hypercall.has_result != 0 && hypercall.result < 0 && hypercall.result > -4096;
}

}  // namespace xenopolis::toolstack
