#include "toolstack/metrics.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <array>
#include <cmath>
#include <cstring>
#include <iterator>
#include <map>

#include "domain/domain_record.h"
#include "domain/existing.h"
#include "event/event_channels.h"
#include "hypercall/hypercall.h"
#include "machine/domain_memory.h"
#include "machine/service_counters.h"
#include "machine/touched.h"
#include "vcpu/backend.h"

namespace xenopolis::toolstack {
namespace {

using machine::ConsoleCounter;
using machine::Histogram;
using machine::Statistics;
using machine::XenstoreCounter;

// The vCPUs of Dom0's daemons (docs/architecture.md).
constexpr VcpuId kXenstored = 0, kConsoled = 1, kPinger = 2;

// Writes families of samples one after the other.
class Writer {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    fmt::format_to(out(), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  template <class Value>
  void sample(const MetricLabels& labels, Value value, std::string_view suffix = "") {
    text_ += name_;
    text_ += suffix;
    for (size_t i = 0; i < labels.size(); ++i) {
      fmt::format_to(out(), "{}{}=\"{}\"", i == 0 ? '{' : ',', labels[i].first, escaped(labels[i].second));
    }
    fmt::format_to(out(), "{} {}\n", labels.empty() ? "" : "}", value);
  }
  template <class Value>
  void single(std::string_view name, std::string_view type, std::string_view help, Value value) {
    family(name, type, help);
    sample({}, value);
  }
  std::string take() { return std::move(text_); }

 private:
  std::back_insert_iterator<std::string> out() { return std::back_inserter(text_); }
  static std::string escaped(std::string_view value) {
    std::string result;
    for (const char byte : value) {
      if (byte == '\\' || byte == '"') result += '\\';
      result += byte == '\n' ? std::string("\\n") : std::string(1, byte);
    }
    return result;
  }

  std::string text_;
  std::string name_;
};

double seconds(uint64_t ns) {
  return static_cast<double>(ns) / 1e9;
}

struct HistogramSum {
  std::array<uint64_t, Histogram::kBuckets> buckets{};
  uint64_t sum_ns = 0;

  void add(const Histogram& histogram) {
    for (size_t i = 0; i < buckets.size(); ++i) buckets[i] += histogram.buckets[i].load(std::memory_order_relaxed);
    sum_ns += histogram.sum_ns.load(std::memory_order_relaxed);
  }
};

// All cells together; what daemons count beside that is kept by their vCPU.
struct Totals {
  std::array<uint64_t, Statistics::kHypercalls> hypercalls{};
  std::array<uint64_t, Statistics::kExits> exits{};
  std::array<uint64_t, Statistics::kVectors> traps{};
  uint64_t upcalls = 0;
  HistogramSum wake, delay, slice;
  using Events = std::array<std::array<uint64_t, Statistics::kPriorities>, Statistics::kAbis>;
  std::map<std::string, Events> events;  // by sender
  struct Service {
    std::array<uint64_t, Statistics::kServiceCounters> counters{};
    HistogramSum request;
  };
  std::map<VcpuId, Service> services;
};

std::string sender_name(uint32_t number) {
  if (number < machine::kCellCount) return "cells";
  if (number == machine::kPolisdStatistics) return "polisd";
  switch (number - machine::kCellCount) {
    case kXenstored:
      return "polis-xenstored";
    case kConsoled:
      return "polis-consoled";
    case kPinger:
      return "experiment";
    default:
      return fmt::format("dom0-vcpu{}", number - machine::kCellCount);
  }
}

template <size_t kSize>
void add_counters(std::array<uint64_t, kSize>& sums, const std::array<machine::Counter, kSize>& counters) {
  for (size_t i = 0; i < kSize; ++i) sums[i] += counters[i].load(std::memory_order_relaxed);
}

Totals totals_of(const machine::Machine& machine) {
  Totals totals;
  machine::for_each_statistics(machine, [&](uint32_t number, const Statistics& counted) {
    Totals::Events& events = totals.events[sender_name(number)];
    for (size_t abi = 0; abi < events.size(); ++abi) add_counters(events[abi], counted.events_sent[abi]);
    if (number >= machine::kCellCount) {
      if (number < machine::kDoorbellCount) {
        Totals::Service& service = totals.services[number - machine::kCellCount];
        add_counters(service.counters, counted.service);
        service.request.add(counted.request);
      }
      return;
    }
    add_counters(totals.hypercalls, counted.hypercalls);
    add_counters(totals.exits, counted.exits);
    add_counters(totals.traps, counted.traps);
    totals.upcalls += counted.upcalls.load(std::memory_order_relaxed);
    totals.wake.add(counted.wake);
    totals.delay.add(counted.delay);
    totals.slice.add(counted.slice);
  });
  return totals;
}

std::string_view name_of_exit(size_t reason) {
  switch (static_cast<vcpu::ExitReason>(reason)) {
    case vcpu::ExitReason::kHypercall:
      return "hypercall";
    case vcpu::ExitReason::kTrap:
      return "trap";
    case vcpu::ExitReason::kSyscall:
      return "syscall";
    case vcpu::ExitReason::kInterrupted:
      return "interrupted";
    case vcpu::ExitReason::kFailed:
      return "failed";
  }
  return "";
}

void write_histogram(Writer& writer, std::string_view name, std::string_view help, const HistogramSum& histogram) {
  writer.family(name, "histogram", help);
  uint64_t count = 0;
  // Nothing here is shorter than 128 ns: one bucket for that.
  constexpr size_t kFirst = 7;
  for (size_t i = 0; i + 1 < histogram.buckets.size(); ++i) {
    count += histogram.buckets[i];
    if (i >= kFirst)
      writer.sample({{"le", fmt::format("{}", std::ldexp(1e-9, static_cast<int>(i)))}}, count, "_bucket");
  }
  count += histogram.buckets.back();
  writer.sample({{"le", "+Inf"}}, count, "_bucket");
  writer.sample({}, seconds(histogram.sum_ns), "_sum");
  writer.sample({}, count, "_count");
}

void write_cells(Writer& writer, const Totals& totals) {
  writer.family("polis_hypercalls_total", "counter", "Hypercalls of guests, entries of multicalls included.");
  for (size_t number = 0; number < totals.hypercalls.size(); ++number) {
    const uint64_t value = totals.hypercalls[number];
    if (value == 0) continue;
    const bool is_last = number + 1 == totals.hypercalls.size();
    std::string name(hypercall::name_of(number));
    if (name == "unknown") name = is_last ? "beyond" : fmt::format("nr_{}", number);
    writer.sample({{"hypercall", name}}, value);
  }
  writer.family("polis_exits_total", "counter", "Returns from guest code, by reason.");
  for (size_t reason = 0; reason < totals.exits.size(); ++reason) {
    if (const std::string_view name = name_of_exit(reason); !name.empty()) {
      writer.sample({{"reason", std::string(name)}}, totals.exits[reason]);
    }
  }
  writer.family("polis_traps_total", "counter", "Exceptions that guests were given to handle, by vector.");
  for (size_t vector = 0; vector < totals.traps.size(); ++vector) {
    if (totals.traps[vector] != 0) writer.sample({{"vector", std::to_string(vector)}}, totals.traps[vector]);
  }
  writer.single("polis_upcalls_total", "counter", "Event upcalls delivered to guests.", totals.upcalls);
  writer.family("polis_events_sent_total", "counter",
                "Events that became pending, by who sent them, and by the receiver's ABI and the channel's priority.");
  for (const auto& [sender, events] : totals.events) {
    for (size_t abi = 0; abi < events.size(); ++abi) {
      for (size_t priority = 0; priority < events[abi].size(); ++priority) {
        if (events[abi][priority] == 0) continue;
        writer.sample(
            {{"sender", sender}, {"abi", std::string(event::kAbiNames[abi])}, {"priority", std::to_string(priority)}},
            events[abi][priority]);
      }
    }
  }
  write_histogram(writer, "polis_wakeup_seconds", "From waking a cell that sleeps until it is awake.", totals.wake);
  write_histogram(writer, "polis_run_queue_seconds", "A vCPU has work, and waits for others of its cell.",
                  totals.delay);
  write_histogram(writer, "polis_slice_seconds", "What a vCPU runs for until it waits or others have their turn.",
                  totals.slice);
}

void write_xenstore(Writer& writer, const Totals::Service& service) {
  const auto& counted = service.counters;
  const auto value = [&](XenstoreCounter which) { return counted[static_cast<size_t>(which)]; };
  writer.family("polis_xenstore_requests_total", "counter", "Requests to xenstore, by type.");
  for (uint32_t type = 0; type < kXsTypeCount; ++type) {
    if (counted[type] == 0) continue;
    const bool has_name = !kXsTypeNames[type].empty();
    writer.sample({{"type", has_name ? std::string(kXsTypeNames[type]) : std::to_string(type)}}, counted[type]);
  }
  if (const uint64_t unknown = value(XenstoreCounter::kUnknownRequests); unknown != 0) {
    writer.sample({{"type", "unknown"}}, unknown);
  }
  writer.single("polis_xenstore_errors_total", "counter", "Requests to xenstore that were answered by an error.",
                value(XenstoreCounter::kErrors));
  writer.single("polis_xenstore_events_total", "counter", "Watch events that clients were sent.",
                value(XenstoreCounter::kEvents));
  writer.single("polis_xenstore_commits_total", "counter", "Transactions that were committed.",
                value(XenstoreCounter::kCommits));
  writer.single("polis_xenstore_conflicts_total", "counter", "Transactions that have to be done again (EAGAIN).",
                value(XenstoreCounter::kConflicts));
  write_histogram(writer, "polis_xenstore_request_seconds",
                  "What xenstore takes for a request until it has its answer; of one request in 16.", service.request);
  writer.single("polis_xenstore_watches", "gauge", "Watches.", value(XenstoreCounter::kWatches));
  writer.single("polis_xenstore_domains", "gauge", "Domains that xenstore was introduced to.",
                value(XenstoreCounter::kDomains));
}

void write_consoles(Writer& writer, const Totals::Service& service) {
  const auto& counted = service.counters;
  const auto value = [&](ConsoleCounter which) { return counted[static_cast<size_t>(which)]; };
  writer.single("polis_console_output_bytes_total", "counter", "Bytes that guests wrote to consoles.",
                value(ConsoleCounter::kOutputBytes));
  writer.single("polis_console_input_bytes_total", "counter", "Bytes that guests were given as input.",
                value(ConsoleCounter::kInputBytes));
  writer.single("polis_console_turns_total", "counter", "Looks at a console's ring.", value(ConsoleCounter::kTurns));
  writer.single("polis_console_lost_bytes_total", "counter", "Bytes that could not be written to logs.",
                value(ConsoleCounter::kLostBytes));
  writer.single("polis_consoles", "gauge", "Consoles.", value(ConsoleCounter::kConsoles));
}

// Bytes of the extent that take memory now. Looking maps nothing.
uint64_t resident_bytes(const machine::Extent& extent) {
  constexpr uint64_t kPagesAtOnce = 65'536;
  std::vector<unsigned char> present(std::min<uint64_t>(extent.pages, kPagesAtOnce));
  uint64_t resident = 0;
  for (uint64_t page = 0; page < extent.pages; page += kPagesAtOnce) {
    const uint64_t pages = std::min(kPagesAtOnce, extent.pages - page);
    if (mincore(extent.begin() + page * kPageSize, pages * kPageSize, present.data()) != 0) return resident;
    for (uint64_t i = 0; i < pages; ++i) resident += (present[i] & 1) != 0 ? kPageSize : 0;
  }
  return resident;
}

std::string state_name(const domain::DomainRecord& record, domain::State state) {
  if (state == domain::State::kRunning && record.is_paused.load(std::memory_order_relaxed)) return "paused";
  return std::string(domain::name_of(state));
}

// What there is of one domain; copied, because it may end meanwhile.
struct DomainLine {
  MetricLabels labels;
  uint64_t memory = 0, resident = 0, run_time_ns = 0, exits = 0, hypercalls = 0, upcalls = 0;
};

DomainLine line_of(const domain::DomainRecord& record, DomId domid) {
  DomainLine line;
  line.labels = {{"domid", std::to_string(domid)},
                 {"name", std::string(record.name, strnlen(record.name, sizeof record.name))}};
  line.memory = record.ram_pages * kPageSize;
  const machine::Extent extent = machine::memory_of(domid).extent;
  if (extent) line.resident = resident_bytes(extent);
  line.run_time_ns = record.run_time_ns.load(std::memory_order_relaxed);
  line.exits = record.exits.load(std::memory_order_relaxed);
  line.hypercalls = record.hypercalls.load(std::memory_order_relaxed);
  line.upcalls = record.upcalls.load(std::memory_order_relaxed);
  return line;
}

void write_domains(Writer& writer, const machine::Machine& machine, bool each_domain) {
  std::map<std::string, uint64_t> states{{"building", 0}, {"running", 0}, {"paused", 0}, {"shutdown", 0}, {"dying", 0}};
  std::vector<DomainLine> lines;
  uint64_t memory = 0;
  for (const DomId domid : domain::existing_domains(machine)) {
    const domain::State state = domain::state_of(domid);
    if (state == domain::State::kFree) continue;  // it has just gone
    const domain::DomainRecord& record = domain::record_of(domid);
    ++states[state_name(record, state)];
    memory += record.ram_pages * kPageSize;
    if (each_domain) lines.push_back(line_of(record, domid));
  }
  writer.family("polis_domains", "gauge", "Domains by state.");
  for (const auto& [state, count] : states) writer.sample({{"state", state}}, count);
  writer.single("polis_domains_memory_bytes", "gauge", "Memory that all domains together may use.", memory);
  if (!each_domain) return;
  const auto each = [&](std::string_view name, std::string_view type, std::string_view help, auto value) {
    writer.family(name, type, help);
    for (const DomainLine& line : lines) writer.sample(line.labels, value(line));
  };
  each("polis_domain_memory_bytes", "gauge", "Memory that the domain may use.", [](auto& line) { return line.memory; });
  each("polis_domain_resident_bytes", "gauge", "Memory of the host that it takes now.",
       [](auto& line) { return line.resident; });
  each("polis_domain_cpu_seconds_total", "counter", "Time that its vCPU has run.",
       [](auto& line) { return seconds(line.run_time_ns); });
  each("polis_domain_exits_total", "counter", "Returns from guest code.", [](auto& line) { return line.exits; });
  each("polis_domain_hypercalls_total", "counter", "Its hypercalls.", [](auto& line) { return line.hypercalls; });
  each("polis_domain_upcalls_total", "counter", "Its event upcalls.", [](auto& line) { return line.upcalls; });
}

uint64_t cells_at_work(const machine::Machine& machine) {
  uint64_t cells = 0;
  for (const uint32_t cell :
       machine::touched(machine, machine::kDoorbellOffset, machine::kDoorbellStride, machine::kCellCount)) {
    cells += machine::doorbell(cell).pid.load() != 0 ? 1 : 0;
  }
  return cells;
}

}  // namespace

std::string metrics_text(const machine::Machine& machine, const MetricsOptions& options) {
  Writer writer;
  writer.family("polis_info", "gauge", "What the host is.");
  writer.sample(options.host, 1);
  write_domains(writer, machine, options.each_domain);
  writer.single("polis_cells", "gauge", "Processes that run domains.", cells_at_work(machine));
  writer.single("polis_machine_bytes", "gauge", "Memory of the host that domains and hypervisor take.",
                machine.resident_bytes());
  Totals totals = totals_of(machine);
  write_cells(writer, totals);
  write_xenstore(writer, totals.services[kXenstored]);
  write_consoles(writer, totals.services[kConsoled]);
  return writer.take();
}

}  // namespace xenopolis::toolstack
