#include "toolstack/trace_text.h"

#include <fmt/format.h>

#include <array>

#include "domain/registry.h"
#include "toolstack/hypercall_text.h"

namespace xenopolis::toolstack {
namespace {

using machine::TraceKind;
using machine::TraceRecord;

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
  const bool has_name = record.number < kExceptions.size() && !kExceptions[record.number].empty();
  const std::string name =
      has_name ? std::string(kExceptions[record.number]) : fmt::format("exception {}", record.number);
  const std::string address = record.number == kPageFault ? fmt::format(" at {:#x}", record.arguments[1]) : "";
  return fmt::format("--- {}{}, code {:#x}, rip {:#x} ---", name, address, record.arguments[0], record.arguments[2]);
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
      return hypercall_text(record);
    case TraceKind::kMulticall:
      return "  " + hypercall_text(record);
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

bool is_hypercall(const TraceRecord& record) {
  return record.kind == TraceKind::kHypercall || record.kind == TraceKind::kMulticall;
}

}  // namespace xenopolis::toolstack
