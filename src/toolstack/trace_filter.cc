#include "toolstack/trace_filter.h"

#include <fmt/format.h>

#include <algorithm>

#include "toolstack/hypercall_text.h"
#include "toolstack/trace_text.h"
#include "xen_abi/xen.h"

namespace xenopolis::toolstack {

using machine::TraceRecord;

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

}  // namespace xenopolis::toolstack
