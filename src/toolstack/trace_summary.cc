#include "toolstack/trace_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "toolstack/hypercall_text.h"
#include "toolstack/trace_text.h"
#include "xen_abi/xen.h"

namespace xenopolis::toolstack {

using machine::TraceKind;
using machine::TraceRecord;

void TraceSummary::add(const TraceRecord& record) {
  Row& row = rows_[trace_name(record)];
  ++row.calls;
  row.errors += is_hypercall(record) && has_failed(record);
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
