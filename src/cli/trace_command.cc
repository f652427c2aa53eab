#include "cli/trace_command.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "cli/host_client.h"
#include "cli/host_watch.h"
#include "domain/registry.h"
#include "machine/trace_ring.h"
#include "toolstack/trace_filter.h"
#include "toolstack/trace_summary.h"
#include "toolstack/trace_text.h"

namespace xenopolis::cli {
namespace {

using machine::TraceKind;
using machine::TraceRecord;

// A domain that makes hypercalls as fast as it can fills the ring in about 8 ms.
constexpr int kLookEveryMs = 2;
constexpr int kLookEveryMsWhenIdle = 50;

class Printer {
 public:
  explicit Printer(const TraceOptions& options, toolstack::TraceFilter filter)
      : options_(options),
        filter_(std::move(filter)),
        calendar_offset_ns_(CalendarClock().now_ns() - MonotonicClock().now_ns()) {}

  // False: that was the last one.
  bool print(const TraceRecord& record) {
    has_ended_ |= record.kind == TraceKind::kEnd;
    if (!filter_.wants(record)) return true;
    ++count_;
    if (options_.summary) {
      summary_.add(record);
    } else {
      fmt::print("{}", options_.json ? json_line(record) : text_line(record));
    }
    return options_.limit == 0 || count_ < options_.limit;
  }
  // Without a word of its own: nobody runs it who could write one.
  void print_destroyed(uint64_t now_ns) {
    TraceRecord record{};
    record.time_ns = now_ns;
    record.kind = TraceKind::kEnd;
    record.number = TraceRecord::kDestroyed;
    if (!has_ended_) print(record);
  }
  void finish() {
    if (options_.summary) fmt::print("{}", summary_.table());
    std::fflush(stdout);
  }

 private:
  std::string time(const TraceRecord& record) const {
    const uint64_t time_ns = record.time_ns + calendar_offset_ns_;
    return fmt::format("{:%T}.{:06}", fmt::localtime(static_cast<time_t>(time_ns / 1'000'000'000)),
                       time_ns / 1000 % 1'000'000);
  }
  std::string text_line(const TraceRecord& record) const {
    const bool is_call = record.kind == TraceKind::kHypercall || record.kind == TraceKind::kMulticall;
    const std::string duration =
        is_call ? fmt::format(" <{:.9f}>", static_cast<double>(record.duration_ns) / 1e9) : std::string();
    return (options_.times ? time(record) + " " : std::string()) + toolstack::trace_text(record) + duration + "\n";
  }
  static std::string json_line(const TraceRecord& record) {
    nlohmann::ordered_json line{{"time_ns", record.time_ns}, {"what", toolstack::trace_name(record)}};
    if (record.kind == TraceKind::kHypercall || record.kind == TraceKind::kMulticall) {
      line["arguments"] = record.arguments;
      line["in_multicall"] = record.kind == TraceKind::kMulticall;
      if (record.has_result != 0) line["result"] = record.result;
    }
    line["duration_ns"] = record.duration_ns;
    line["text"] = toolstack::trace_text(record);
    return line.dump() + "\n";
  }

  const TraceOptions& options_;
  const toolstack::TraceFilter filter_;
  const uint64_t calendar_offset_ns_;
  toolstack::TraceSummary summary_;
  uint64_t count_ = 0;
  bool has_ended_ = false;
};

struct Traced {
  DomId domid;
  uint64_t incarnation;

  bool is_alive() const {
    const domain::State state = domain::state_of(domid);
    return is_same() && (state == domain::State::kRunning || state == domain::State::kBuilding);
  }
  bool is_destroyed() const { return !is_same() || domain::state_of(domid) == domain::State::kDying; }
  bool is_same() const { return domain::exists(domid) && domain::record_of(domid).incarnation == incarnation; }
};

}  // namespace

Result<int> run_trace(const TraceOptions& options) {
  toolstack::TraceFilter filter;
  if (!options.filter.empty()) filter = TRY(toolstack::TraceFilter::parse(options.filter));
  const auto client = TRY(HostClient::connect(options.run_directory));
  const DomId domid = TRY(client->find(options.domain));
  if (domid == kDom0) return fail(0, "Dom0's daemons make no hypercalls (`xenstore-control logfile` traces xenstore)");
  TRY(client->machine());
  const Traced traced{domid, domain::record_of(domid).incarnation};
  if (!domain::exists(domid)) {
    return fail(0, fmt::format("there is no domain {} (`polis list` shows those that there are)", options.domain));
  }
  if (!traced.is_alive()) return fail(0, fmt::format("domain {} has shut down", options.domain));
  TRY_VOID(client->catch_signals());
  HostWatch watch(*client);
  const MonotonicClock clock;
  const uint64_t end_ns =
      options.duration_s <= 0 ? ~0ull : clock.now_ns() + static_cast<uint64_t>(options.duration_s * 1e9);
  Result<machine::TraceReader> started = machine::TraceReader::start(domid, clock.now_ns());
  if (!started) return fail(0, started.error().what);  // which says all: somebody traces it
  machine::TraceReader& reader = *started;
  if (!options.json) fmt::print(stderr, "polis trace: domain {} is traced, Ctrl-C ends\n", domid);
  Printer printer(options, std::move(filter));
  uint64_t dropped = 0;
  bool has_all = false;  // that were asked for
  for (bool goes_on = true; goes_on;) {
    // Before the records are read: what comes later than its end does not exist.
    goes_on = traced.is_alive() && client->interrupted() == 0 && clock.now_ns() < end_ns && reader.alive();
    const std::vector<TraceRecord> records = reader.read(clock.now_ns());
    for (const TraceRecord& record : records) {
      if (printer.print(record)) continue;
      has_all = true;
      goes_on = false;
      break;
    }
    if (const uint64_t now_dropped = reader.dropped(); now_dropped != dropped) {
      fmt::print(stderr, "polis trace: {} records are missing here: the domain was faster\n", now_dropped - dropped);
      dropped = now_dropped;
    }
    std::fflush(stdout);
    if (!goes_on) break;
    TRY_VOID(client->loop().run_once(records.empty() ? kLookEveryMsWhenIdle : kLookEveryMs));
    if (!watch.is_there()) break;
  }
  if (!has_all && traced.is_destroyed()) printer.print_destroyed(clock.now_ns());
  printer.finish();
  return 0;
}

}  // namespace xenopolis::cli
