#include "toolstack/trace_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "domain/registry.h"
#include "hypercall/hypercall.h"

namespace xenopolis::toolstack {
namespace {

using machine::TraceKind;
using machine::TraceRecord;

template <size_t kSize>
std::string one_of(const std::array<std::string_view, kSize>& names, uint64_t value, std::string_view what) {
  if (value < kSize && !names[value].empty()) return std::string(names[value]);
  return fmt::format("{} {}", what, value);
}

// What the pointer argument pointed to, if all of it could be read.
template <class T>
std::optional<T> payload_as(const TraceRecord& record, size_t offset = 0) {
  if (record.payload_size < offset + sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, record.payload.data() + offset, sizeof value);
  return value;
}

// "{...}" by `describe`, or the address.
template <class T, class Describe>
std::string structure(const TraceRecord& record, uint64_t address, Describe&& describe) {
  const std::optional<T> value = payload_as<T>(record);
  return value ? "{" + describe(*value) + "}" : fmt::format("{:#x}", address);
}

std::string domid_name(uint64_t domid) {
  return domid == DOMID_SELF ? "DOMID_SELF" : std::to_string(domid);
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

// --- one function per hypercall: what stands between the brackets

#define NAME_AT(constant) names[constant] = #constant

constexpr auto kEventNames = [] {
  std::array<std::string_view, EVTCHNOP_set_priority + 1> names{};
  NAME_AT(EVTCHNOP_bind_interdomain);
  NAME_AT(EVTCHNOP_bind_virq);
  NAME_AT(EVTCHNOP_bind_pirq);
  NAME_AT(EVTCHNOP_close);
  NAME_AT(EVTCHNOP_send);
  NAME_AT(EVTCHNOP_status);
  NAME_AT(EVTCHNOP_alloc_unbound);
  NAME_AT(EVTCHNOP_bind_ipi);
  NAME_AT(EVTCHNOP_bind_vcpu);
  NAME_AT(EVTCHNOP_unmask);
  NAME_AT(EVTCHNOP_reset);
  NAME_AT(EVTCHNOP_init_control);
  NAME_AT(EVTCHNOP_expand_array);
  NAME_AT(EVTCHNOP_set_priority);
  return names;
}();

std::string event_structure(const TraceRecord& record) {
  const uint64_t address = record.arguments[1];
  switch (record.arguments[0]) {
    case EVTCHNOP_bind_interdomain:
      return structure<evtchn_bind_interdomain>(record, address, [](const auto& op) {
        return fmt::format("remote_dom={}, remote_port={}, local_port={}", domid_name(op.remote_dom), op.remote_port,
                           op.local_port);
      });
    case EVTCHNOP_bind_virq:
      return structure<evtchn_bind_virq>(record, address, [](const auto& op) {
        return fmt::format("virq={}, vcpu={}, port={}", op.virq, op.vcpu, op.port);
      });
    case EVTCHNOP_alloc_unbound:
      return structure<evtchn_alloc_unbound>(record, address, [](const auto& op) {
        return fmt::format("dom={}, remote_dom={}, port={}", domid_name(op.dom), domid_name(op.remote_dom), op.port);
      });
    case EVTCHNOP_bind_ipi:
      return structure<evtchn_bind_ipi>(
          record, address, [](const auto& op) { return fmt::format("vcpu={}, port={}", op.vcpu, op.port); });
    case EVTCHNOP_status:
      return structure<evtchn_status>(record, address, [](const auto& op) {
        return fmt::format("dom={}, port={}, status={}, vcpu={}", domid_name(op.dom), op.port, op.status, op.vcpu);
      });
    case EVTCHNOP_bind_vcpu:
      return structure<evtchn_bind_vcpu>(
          record, address, [](const auto& op) { return fmt::format("port={}, vcpu={}", op.port, op.vcpu); });
    case EVTCHNOP_init_control:
      return structure<evtchn_init_control>(record, address, [](const auto& op) {
        return fmt::format("control_gfn={:#x}, offset={}, vcpu={}, link_bits={}", op.control_gfn, op.offset, op.vcpu,
                           op.link_bits);
      });
    case EVTCHNOP_expand_array:
      return structure<evtchn_expand_array>(
          record, address, [](const auto& op) { return fmt::format("array_gfn={:#x}", op.array_gfn); });
    case EVTCHNOP_set_priority:
      return structure<evtchn_set_priority>(
          record, address, [](const auto& op) { return fmt::format("port={}, priority={}", op.port, op.priority); });
    case EVTCHNOP_close:
    case EVTCHNOP_send:
    case EVTCHNOP_unmask:
      return structure<evtchn_send>(record, address, [](const auto& op) { return fmt::format("port={}", op.port); });
    case EVTCHNOP_reset:
      return structure<evtchn_reset>(record, address,
                                     [](const auto& op) { return fmt::format("dom={}", domid_name(op.dom)); });
    default:
      return fmt::format("{:#x}", address);
  }
}

std::string event_channel_op(const TraceRecord& record) {
  return one_of(kEventNames, record.arguments[0], "operation") + ", " + event_structure(record);
}

std::string sched_op(const TraceRecord& record) {
  static constexpr auto kNames = [] {
    std::array<std::string_view, SCHEDOP_pin_override + 1> names{};
    NAME_AT(SCHEDOP_yield);
    NAME_AT(SCHEDOP_block);
    NAME_AT(SCHEDOP_shutdown);
    NAME_AT(SCHEDOP_poll);
    NAME_AT(SCHEDOP_remote_shutdown);
    NAME_AT(SCHEDOP_shutdown_code);
    NAME_AT(SCHEDOP_watchdog);
    NAME_AT(SCHEDOP_pin_override);
    return names;
  }();
  const std::string name = one_of(kNames, record.arguments[0], "operation");
  const uint64_t address = record.arguments[1];
  switch (record.arguments[0]) {
    case SCHEDOP_yield:
    case SCHEDOP_block:
      return name;
    case SCHEDOP_shutdown:
    case SCHEDOP_shutdown_code:
      return name + ", " + structure<sched_shutdown>(record, address, [](const auto& op) {
               return fmt::format("reason={}", domain::name_of_shutdown(op.reason));
             });
    case SCHEDOP_poll:
      return name + ", " + structure<sched_poll>(record, address, [&](const auto& op) {
               const std::string until =
                   op.timeout == 0
                       ? "none"
                       : fmt::format("{:+.3f} ms",
                                     (static_cast<double>(op.timeout) - static_cast<double>(record.time_ns)) / 1e6);
               return fmt::format("nr_ports={}, timeout={}", op.nr_ports, until);
             });
    case SCHEDOP_watchdog:
      return name + ", " + structure<sched_watchdog>(record, address, [](const auto& op) {
               return fmt::format("id={}, timeout={} s", op.id, op.timeout);
             });
    default:
      return fmt::format("{}, {:#x}", name, address);
  }
}

std::string grant_table_op(const TraceRecord& record) {
  static constexpr auto kNames = [] {
    std::array<std::string_view, GNTTABOP_cache_flush + 1> names{};
    NAME_AT(GNTTABOP_map_grant_ref);
    NAME_AT(GNTTABOP_unmap_grant_ref);
    NAME_AT(GNTTABOP_setup_table);
    NAME_AT(GNTTABOP_dump_table);
    NAME_AT(GNTTABOP_transfer);
    NAME_AT(GNTTABOP_copy);
    NAME_AT(GNTTABOP_query_size);
    NAME_AT(GNTTABOP_unmap_and_replace);
    NAME_AT(GNTTABOP_set_version);
    NAME_AT(GNTTABOP_get_status_frames);
    NAME_AT(GNTTABOP_get_version);
    NAME_AT(GNTTABOP_swap_grant_ref);
    NAME_AT(GNTTABOP_cache_flush);
    return names;
  }();
  const std::string name = one_of(kNames, record.arguments[0], "operation");
  const uint64_t address = record.arguments[1];
  std::string what = fmt::format("{:#x}", address);
  if (record.arguments[0] == GNTTABOP_setup_table) {
    what = structure<gnttab_setup_table>(record, address, [](const auto& op) {
      return fmt::format("dom={}, nr_frames={}, status={}", domid_name(op.dom), op.nr_frames, op.status);
    });
  } else if (record.arguments[0] == GNTTABOP_query_size) {
    what = structure<gnttab_query_size>(record, address, [](const auto& op) {
      return fmt::format("dom={}, nr_frames={}, max_nr_frames={}, status={}", domid_name(op.dom), op.nr_frames,
                         op.max_nr_frames, op.status);
    });
  }
  return fmt::format("{}, {}, {}", name, what, record.arguments[2]);
}

std::string memory_op(const TraceRecord& record) {
  static constexpr auto kNames = [] {
    std::array<std::string_view, XENMEM_machphys_mapping + 1> names{};
    NAME_AT(XENMEM_increase_reservation);
    NAME_AT(XENMEM_decrease_reservation);
    NAME_AT(XENMEM_populate_physmap);
    NAME_AT(XENMEM_maximum_ram_page);
    NAME_AT(XENMEM_current_reservation);
    NAME_AT(XENMEM_maximum_reservation);
    NAME_AT(XENMEM_machphys_mfn_list);
    NAME_AT(XENMEM_add_to_physmap);
    NAME_AT(XENMEM_memory_map);
    NAME_AT(XENMEM_machine_memory_map);
    NAME_AT(XENMEM_exchange);
    NAME_AT(XENMEM_machphys_mapping);
    return names;
  }();
  const std::string name = one_of(kNames, record.arguments[0], "operation");
  switch (record.arguments[0]) {
    case XENMEM_increase_reservation:
    case XENMEM_decrease_reservation:
    case XENMEM_populate_physmap:
      return name + ", " + structure<xen_memory_reservation>(record, record.arguments[1], [](const auto& op) {
               return fmt::format("nr_extents={}, extent_order={}, domid={}", op.nr_extents, op.extent_order,
                                  domid_name(op.domid));
             });
    default:
      return fmt::format("{}, {:#x}", name, record.arguments[1]);
  }
}

std::string xen_version(const TraceRecord& record) {
  static constexpr auto kNames = [] {
    std::array<std::string_view, XENVER_build_id + 1> names{};
    NAME_AT(XENVER_version);
    NAME_AT(XENVER_extraversion);
    NAME_AT(XENVER_compile_info);
    NAME_AT(XENVER_capabilities);
    NAME_AT(XENVER_changeset);
    NAME_AT(XENVER_platform_parameters);
    NAME_AT(XENVER_get_features);
    NAME_AT(XENVER_pagesize);
    NAME_AT(XENVER_guest_handle);
    NAME_AT(XENVER_commandline);
    NAME_AT(XENVER_build_id);
    return names;
  }();
  const std::string name = one_of(kNames, record.arguments[0], "what");
  if (record.arguments[0] == XENVER_get_features) {
    return name + ", " + structure<xen_feature_info>(record, record.arguments[1], [](const auto& info) {
             return fmt::format("submap_idx={}, submap={:#x}", info.submap_idx, info.submap);
           });
  }
  return record.arguments[1] == 0 ? name + ", NULL" : fmt::format("{}, {:#x}", name, record.arguments[1]);
}

std::string vcpu_op(const TraceRecord& record) {
  static constexpr auto kNames = [] {
    std::array<std::string_view, VCPUOP_register_vcpu_time_memory_area + 1> names{};
    NAME_AT(VCPUOP_initialise);
    NAME_AT(VCPUOP_up);
    NAME_AT(VCPUOP_down);
    NAME_AT(VCPUOP_is_up);
    NAME_AT(VCPUOP_get_runstate_info);
    NAME_AT(VCPUOP_register_runstate_memory_area);
    NAME_AT(VCPUOP_set_periodic_timer);
    NAME_AT(VCPUOP_stop_periodic_timer);
    NAME_AT(VCPUOP_set_singleshot_timer);
    NAME_AT(VCPUOP_stop_singleshot_timer);
    NAME_AT(VCPUOP_register_vcpu_info);
    NAME_AT(VCPUOP_send_nmi);
    NAME_AT(VCPUOP_get_physid);
    NAME_AT(VCPUOP_register_vcpu_time_memory_area);
    return names;
  }();
  std::string what = fmt::format("{:#x}", record.arguments[2]);
  if (record.arguments[0] == VCPUOP_set_periodic_timer) {
    what = structure<vcpu_set_periodic_timer>(record, record.arguments[2], [](const auto& op) {
      return fmt::format("period={:.3f} ms", static_cast<double>(op.period_ns) / 1e6);
    });
  } else if (record.arguments[0] == VCPUOP_set_singleshot_timer) {
    what = structure<vcpu_set_singleshot_timer>(record, record.arguments[2], [&](const auto& op) {
      return fmt::format("timeout={:+.3f} ms",
                         (static_cast<double>(op.timeout_abs_ns) - static_cast<double>(record.time_ns)) / 1e6);
    });
  }
  return fmt::format("{}, {}, {}", one_of(kNames, record.arguments[0], "operation"), record.arguments[1], what);
}

std::string mmu_update(const TraceRecord& record) {
  return structure<mmu_update_t>(
             record, record.arguments[0],
             [&](const auto& update) { return fmt::format("ptr={:#x}, val={:#x}", update.ptr, update.val); }) +
         fmt::format("{}, {}, {}", record.arguments[1] > 1 ? "..." : "", record.arguments[1],
                     domid_name(record.arguments[3]));
}

std::string mmuext_op(const TraceRecord& record) {
  [[maybe_unused]] static constexpr auto kNames = [] {
    std::array<std::string_view, MMUEXT_UNMARK_SUPER + 1> names{};
    NAME_AT(MMUEXT_PIN_L1_TABLE);
    NAME_AT(MMUEXT_PIN_L2_TABLE);
    NAME_AT(MMUEXT_PIN_L3_TABLE);
    NAME_AT(MMUEXT_PIN_L4_TABLE);
    NAME_AT(MMUEXT_UNPIN_TABLE);
    NAME_AT(MMUEXT_NEW_BASEPTR);
    NAME_AT(MMUEXT_TLB_FLUSH_LOCAL);
    NAME_AT(MMUEXT_INVLPG_LOCAL);
    NAME_AT(MMUEXT_TLB_FLUSH_MULTI);
    NAME_AT(MMUEXT_INVLPG_MULTI);
    NAME_AT(MMUEXT_TLB_FLUSH_ALL);
    NAME_AT(MMUEXT_INVLPG_ALL);
    NAME_AT(MMUEXT_FLUSH_CACHE);
    NAME_AT(MMUEXT_SET_LDT);
    NAME_AT(MMUEXT_NEW_USER_BASEPTR);
    return names;
  }();
  return structure<mmuext_op_t>(
             record, record.arguments[0],
             [](const auto& op) { return fmt::format("{}, {:#x}", one_of(kNames, op.cmd, "cmd"), op.arg1.mfn); }) +
         fmt::format("{}, {}", record.arguments[1] > 1 ? "..." : "", record.arguments[1]);
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
  const uint64_t timeout = record.arguments[0];
  if (timeout == 0) return "0";
  return fmt::format("{:+.3f} ms", (static_cast<double>(timeout) - static_cast<double>(record.time_ns)) / 1e6);
}

std::string callback_op(const TraceRecord& record) {
  static constexpr std::array<std::string_view, 2> kOperations{"CALLBACKOP_register", "CALLBACKOP_unregister"};
  [[maybe_unused]] static constexpr auto kNames = [] {
    std::array<std::string_view, CALLBACKTYPE_syscall32 + 1> names{};
    NAME_AT(CALLBACKTYPE_event);
    NAME_AT(CALLBACKTYPE_failsafe);
    NAME_AT(CALLBACKTYPE_syscall);
    NAME_AT(CALLBACKTYPE_nmi);
    NAME_AT(CALLBACKTYPE_sysenter);
    NAME_AT(CALLBACKTYPE_syscall32);
    return names;
  }();
  return one_of(kOperations, record.arguments[0], "operation") + ", " +
         structure<callback_register>(record, record.arguments[1], [](const auto& op) {
           return fmt::format("type={}, flags={:#x}, address={:#x}", one_of(kNames, op.type, "type"), op.flags,
                              static_cast<uint64_t>(op.address));
         });
}

#undef NAME_AT

std::string plain(const TraceRecord& record, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += fmt::format("{}{:#x}", i == 0 ? "" : ", ", record.arguments[i]);
  return text;
}

std::string arguments_text(const TraceRecord& record) {
  switch (record.number) {
    case __HYPERVISOR_event_channel_op:
      return event_channel_op(record);
    case __HYPERVISOR_sched_op:
      return sched_op(record);
    case __HYPERVISOR_grant_table_op:
      return grant_table_op(record);
    case __HYPERVISOR_memory_op:
      return memory_op(record);
    case __HYPERVISOR_xen_version:
      return xen_version(record);
    case __HYPERVISOR_vcpu_op:
      return vcpu_op(record);
    case __HYPERVISOR_mmu_update:
      return mmu_update(record);
    case __HYPERVISOR_mmuext_op:
      return mmuext_op(record);
    case __HYPERVISOR_console_io:
      return console_io(record);
    case __HYPERVISOR_set_timer_op:
      return set_timer_op(record);
    case __HYPERVISOR_callback_op:
      return callback_op(record);
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
  // -errno, as Xen's are Linux's (<xen/errno.h>).
  if (record.result < 0 && record.result > -4096) {
    const char* name = strerrorname_np(static_cast<int>(-record.result));
    return fmt::format("= {} {}", record.result, name == nullptr ? "" : name);
  }
  return record.result >= 0 && record.result < 0x100000 ? fmt::format("= {}", record.result)
                                                        : fmt::format("= {:#x}", static_cast<uint64_t>(record.result));
}

std::string hypercall_name(uint32_t number) {
  const std::string_view name = hypercall::name_of(number);
  return name == "unknown" ? fmt::format("hypercall_{}", number) : std::string(name);
}

// Intel's names, SDM volume 3, table 6-1.
constexpr std::array<std::string_view, 20> kExceptions{"divide error",
                                                       "debug exception",
                                                       "NMI",
                                                       "breakpoint",
                                                       "overflow",
                                                       "bound range exceeded",
                                                       "invalid opcode",
                                                       "device not available",
                                                       "double fault",
                                                       "",
                                                       "invalid TSS",
                                                       "segment not present",
                                                       "stack fault",
                                                       "general protection fault",
                                                       "page fault",
                                                       "",
                                                       "x87 floating-point error",
                                                       "alignment check",
                                                       "machine check",
                                                       "SIMD floating-point error"};
constexpr uint32_t kPageFault = 14;

std::string trap_text(const TraceRecord& record) {
  const std::string address = record.number == kPageFault ? fmt::format(" at {:#x}", record.arguments[1]) : "";
  return fmt::format("--- {}{}, code {:#x}, rip {:#x} ---", one_of(kExceptions, record.number, "exception"), address,
                     record.arguments[0], record.arguments[2]);
}

bool is_hypercall(const TraceRecord& record) {
  return record.kind == TraceKind::kHypercall || record.kind == TraceKind::kMulticall;
}

}  // namespace

std::string trace_name(const TraceRecord& record) {
  switch (record.kind) {
    case TraceKind::kHypercall:
    case TraceKind::kMulticall:
      return hypercall_name(record.number);
    case TraceKind::kTrap:
      return "trap";
    case TraceKind::kSyscall:
      return "syscall";
    case TraceKind::kInterrupt:
      return "interrupt";
    case TraceKind::kUpcall:
      return "upcall";
    case TraceKind::kWait:
      return "wait";
    case TraceKind::kEnd:
      return "end";
  }
  return "unknown";
}

std::string trace_text(const TraceRecord& record) {
  switch (record.kind) {
    case TraceKind::kHypercall:
      return fmt::format("{}({}) {}", hypercall_name(record.number), arguments_text(record), result_text(record));
    case TraceKind::kMulticall:
      return fmt::format("  {}({}) {}", hypercall_name(record.number), arguments_text(record), result_text(record));
    case TraceKind::kTrap:
      return trap_text(record);
    case TraceKind::kSyscall:
      return fmt::format("--- system call {} of a process, rip {:#x} ---", record.arguments[0], record.arguments[1]);
    case TraceKind::kInterrupt:
      return fmt::format("--- interrupted at rip {:#x} ---", record.arguments[0]);
    case TraceKind::kUpcall:
      return "--- event upcall ---";
    case TraceKind::kWait:
      return fmt::format("--- waited for {:.3f} ms ---", static_cast<double>(record.duration_ns) / 1e6);
    case TraceKind::kEnd:
      if (record.number == TraceRecord::kDestroyed) return "+++ destroyed +++";
      return fmt::format("+++ shut down: {} +++", domain::name_of_shutdown(record.number));
  }
  return fmt::format("--- record of unknown kind {} ---", static_cast<unsigned>(record.kind));
}

Result<TraceFilter> TraceFilter::parse(const std::string& text) {
  static const std::set<std::string> kOthers{"hypercalls", "trap", "syscall", "interrupt", "upcall", "wait", "end"};
  TraceFilter filter;
  filter.is_inverted_ = text.starts_with('!');
  for (size_t begin = filter.is_inverted_ ? 1 : 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    bool is_known = kOthers.contains(name);
    for (uint32_t number = 0; !is_known && number <= __HYPERVISOR_arch_7; ++number) {
      is_known = hypercall_name(number) == name;
    }
    if (!is_known) {
      return fail(EINVAL,
                  fmt::format("-e {}: \"{}\" is neither a hypercall (sched_op, event_channel_op, ...) nor one of "
                              "hypercalls, trap, syscall, interrupt, upcall, wait, end",
                              text, name));
    }
    filter.names_.insert(name);
    begin = end + 1;
  }
  return filter;
}

bool TraceFilter::wants(const TraceRecord& record) const {
  const bool is_named = names_.contains(trace_name(record)) || (is_hypercall(record) && names_.contains("hypercalls"));
  return is_named != is_inverted_;
}

void TraceSummary::add(const TraceRecord& record) {
  Row& row = rows_[trace_name(record)];
  ++row.calls;
  row.errors += is_hypercall(record) && record.has_result != 0 && record.result < 0 && record.result > -4096;
  // What its entries took is not the multicall's own.
  uint64_t own_ns = record.duration_ns;
  if (record.kind == TraceKind::kMulticall) {
    entries_ns_ += record.duration_ns;
  } else if (record.kind == TraceKind::kHypercall && record.number == __HYPERVISOR_multicall) {
    own_ns -= std::min(own_ns, std::exchange(entries_ns_, 0));
  }
  row.duration_ns += own_ns;
}

std::string TraceSummary::table() const {
  std::vector<std::pair<std::string, Row>> rows(rows_.begin(), rows_.end());
  Row total;
  for (const auto& [name, row] : rows) {
    if (name == "wait") continue;  // is nobody's work
    total.calls += row.calls;
    total.errors += row.errors;
    total.duration_ns += row.duration_ns;
  }
  std::stable_sort(rows.begin(), rows.end(), [](const auto& left, const auto& right) {
    return left.second.duration_ns > right.second.duration_ns;
  });
  const std::string rule = fmt::format("{0:-<6} {0:-<11} {0:-<11} {0:-<9} {0:-<9} {0:-<20}\n", "");
  std::string text =
      fmt::format("{:>6} {:>11} {:>11} {:>9} {:>9} {}\n", "% time", "seconds", "usecs/call", "calls", "errors", "name");
  text += rule;
  const auto line = [&](const std::string& name, const Row& row, const std::string& share) {
    const double us = static_cast<double>(row.duration_ns) / 1e3;
    text += fmt::format("{:>6} {:>11.6f} {:>11.3f} {:>9} {:>9} {}\n", share, us / 1e6,
                        row.calls == 0 ? 0 : us / static_cast<double>(row.calls), row.calls,
                        row.errors == 0 ? "" : std::to_string(row.errors), name);
  };
  for (const auto& [name, row] : rows) {
    const double share = total.duration_ns == 0
                             ? 0
                             : 100.0 * static_cast<double>(row.duration_ns) / static_cast<double>(total.duration_ns);
    line(name, row, name == "wait" ? "" : fmt::format("{:.2f}", share));
  }
  text += rule;
  line("total, without wait", total, "100.00");
  return text;
}

}  // namespace xenopolis::toolstack
