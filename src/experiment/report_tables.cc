#include "experiment/report_tables.h"

#include <algorithm>

#include "experiment/chart.h"
#include "experiment/published.h"
#include "experiment/report_runs.h"
#include "experiment/report_text.h"
#include "xen_abi/xen.h"

namespace xenopolis::experiment {
namespace {

// xenstore, console, vif, vbd.
constexpr uint32_t kChannelsPerDomain = 4;
// 1 to DOMID_FIRST_RESERVED - 1 of <xen/xen.h>.
constexpr uint32_t kDomainNumbers = kDomIdCount - 1;

struct AbiLimit {
  std::string_view abi;
  uint32_t channels;
};
constexpr AbiLimit kAbiLimits[] = {{"2l", 4'096}, {"3l", 262'144}, {"fifo", 131'072}};

struct Column {
  std::string_view heading;
  bool is_number = false;
};

std::string table(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows,
                  std::string_view style = "") {
  std::string text = fmt::format("<div class=\"scroll\"><table{}>\n<thead><tr>",
                                 style.empty() ? "" : fmt::format(" class=\"{}\"", style));
  for (const Column& column : columns) {
    text +=
        fmt::format("<th scope=\"col\"{}>{}</th>", column.is_number ? " class=\"n\"" : "", escape_xml(column.heading));
  }
  text += "</tr></thead>\n<tbody>\n";
  for (const auto& row : rows) {
    text += "<tr>";
    for (size_t index = 0; index < row.size(); ++index) {
      const char* alignment = columns[index].is_number ? " class=\"n\"" : "";
      text += index == 0 ? fmt::format("<th scope=\"row\"{}>{}</th>", alignment, row[index])
                         : fmt::format("<td{}>{}</td>", alignment, row[index]);
    }
    text += "</tr>\n";
  }
  return text + "</tbody>\n</table></div>\n";
}

std::string or_dash(bool is_there, const std::string& text) {
  return is_there ? text : "–";
}

// What was seen of this ABI.
std::string observed(const SweepRecord& sweep, std::string_view abi) {
  const RunRecord* wall = nullptr;
  uint32_t most = 0;
  for (const RunRecord& run : sweep.runs) {
    if (run.event_abi != abi) continue;
    most = std::max(most, run.up);
    if (run.wall && (wall == nullptr || run.wall->first < wall->wall->first)) wall = &run;
  }
  if (wall != nullptr) {
    return fmt::format("<strong>domain {}</strong>: {}", thousands(wall->wall->first), escape_xml(wall->wall->second));
  }
  return most == 0 ? "not tried" : fmt::format("not met with {}", escape_xml(counted(most, "domain", "domains")));
}

}  // namespace

std::string limits_table(const SweepRecord& sweep) {
  std::vector<std::vector<std::string>> rows;
  for (const AbiLimit& limit : kAbiLimits) {
    const uint32_t by_channels = limit.channels / kChannelsPerDomain;
    rows.push_back({abi_name(limit.abi), thousands(limit.channels), thousands(by_channels),
                    by_channels > kDomainNumbers ? fmt::format("domain numbers, at {}: “all {} domain numbers are in "
                                                               "use” (ENOSPC)",
                                                               thousands(kDomainNumbers), kDomainNumbers)
                                                 : "Dom0’s channels: EVTCHNOP_bind_interdomain fails (ENOSPC)",
                    observed(sweep, limit.abi)});
  }
  return table({{"Event channels"},
                {"channels of Dom0", true},
                {"domains with four each", true},
                {"what ends first"},
                {"met here"}},
               rows);
}

std::string peers_table(const SweepRecord& sweep) {
  std::vector<std::vector<std::string>> rows;
  for (const PeerRecord& peer : sweep.peers) {
    const bool ran = peer.started > 0;
    std::string remark = peer.what;
    if (!peer.note.empty()) remark += (remark.empty() ? "" : "; ") + peer.note;
    rows.push_back({escape_xml(peer.name), or_dash(ran, thousands(peer.started)),
                    or_dash(ran, milliseconds(peer.each_p50_ms)), or_dash(ran, milliseconds(peer.each_p99_ms)),
                    or_dash(ran, milliseconds(peer.wall_ms_each)),
                    or_dash(ran && peer.memory_kib_each > 0, kibibytes(peer.memory_kib_each)), escape_xml(remark)});
  }
  const RunRecord& run = *largest_run(sweep);
  rows.push_back(
      {fmt::format("Xenopolis, {}", escape_xml(run.backend)), thousands(run.up), milliseconds(run.create_p50_ms),
       milliseconds(run.create_p99_ms), milliseconds(run.wall_s * 1000 / run.up),
       or_dash(run.has_memory(), kibibytes(run.memory_kib_per_domain)),
       fmt::format("{} at a time; up means console, xenstore and channels, not its first word only", run.window)});
  return table({{""},
                {"alive", true},
                {"up, median", true},
                {"99 % within", true},
                {"wall, each", true},
                {"memory, each", true},
                {"what it is"}},
               rows);
}

std::string published_table() {
  std::vector<std::vector<std::string>> rows;
  for (const Published& theirs : published()) {
    const std::string source = escape_xml(theirs.source);
    rows.push_back(
        {escape_xml(theirs.who), escape_xml(theirs.figure), escape_xml(theirs.what), escape_xml(theirs.hardware),
         theirs.url.empty() ? source : fmt::format("<a href=\"{}\">{}</a>", escape_xml(theirs.url), source)});
  }
  return table({{"Theirs"}, {"figure"}, {"of what"}, {"hardware"}, {"source"}}, rows);
}

std::string runs_table(const SweepRecord& sweep) {
  std::vector<std::vector<std::string>> rows;
  for (const RunRecord& run : sweep.runs) {
    const bool ran = run.up > 0;
    const auto two = [](double p50_ms, double p99_ms) {
      return fmt::format("{} / {}", milliseconds(p50_ms), milliseconds(p99_ms));
    };
    rows.push_back(
        {abi_name(run.event_abi),
         run.up == run.requested ? thousands(run.up)
                                 : fmt::format("{} of {}", thousands(run.up), thousands(run.requested)),
         or_dash(ran, milliseconds(run.wall_s * 1000)), or_dash(ran, two(run.create_p50_ms, run.create_p99_ms)),
         or_dash(run.pings > 0, two(run.ping_p50_us / 1000, run.ping_p99_us / 1000)),
         or_dash(run.has_memory(), kibibytes(run.memory_kib_per_domain)),
         or_dash(run.steady_s > 0, fmt::format("{} of {}", thousands(static_cast<double>(run.beats_missed)),
                                               thousands(static_cast<double>(run.beats + run.beats_missed)))),
         thousands(static_cast<double>(run.dom0_channels)),
         or_dash(ran, milliseconds((run.shutdown_s + run.teardown_s) * 1000))});
  }
  return table({{"ABI"},
                {"domains up", true},
                {"all up", true},
                {"create to up, 50 % / 99 %", true},
                {"round trip, 50 % / 99 %", true},
                {"memory, each", true},
                {"beats missed", true},
                {"channels", true},
                {"shut down", true}},
               rows, "compact");
}

std::string traffic_table(const SweepRecord& sweep) {
  const RunRecord& run = *largest_run(sweep);
  const TrafficRecord& creation = run.creation_traffic;
  const TrafficRecord& steady = run.steady_traffic;
  if (creation.xenstore_requests <= 0) return "";
  std::vector<std::vector<std::string>> rows;
  const auto row = [&](const std::string& what, double while_created, double in_steady_state) {
    if (while_created + in_steady_state == 0) return;
    rows.push_back({what, three_digits(while_created / run.up),
                    or_dash(run.steady_s > 0, three_digits(in_steady_state / std::max(run.steady_s, 1e-9)))});
  };
  row("requests to xenstore", creation.xenstore_requests, steady.xenstore_requests);
  row("watch events of xenstore", creation.xenstore_events, steady.xenstore_events);
  row("transactions committed", creation.xenstore_commits, steady.xenstore_commits);
  row("transactions to be done again", creation.xenstore_conflicts, steady.xenstore_conflicts);
  row("bytes written to consoles", creation.console_bytes, steady.console_bytes);
  return table({{escape_xml(counted(run.up, "domain", "domains"))},
                {"for each created", true},
                {"in a second of the steady state, all together", true}},
               rows);
}

std::string programs_table(const SweepRecord& sweep) {
  const RunRecord& run = *largest_run(sweep);
  std::vector<std::vector<std::string>> rows;
  for (const auto& [program, steady] : run.steady_load) {
    const auto creation = run.creation_load.find(program);
    rows.push_back(
        {fmt::format("<code>{}</code>", escape_xml(program)),
         or_dash(creation != run.creation_load.end(),
                 creation == run.creation_load.end() ? "" : milliseconds(creation->second.cpu_s * 1000 / run.up)),
         or_dash(run.steady_s > 0, three_digits(steady.cpu_s * 100 / std::max(run.steady_s, 1e-9)) + " %"),
         or_dash(steady.memory_kib > 0, kibibytes(steady.memory_kib))});
  }
  if (rows.empty()) return "";
  const std::string with = escape_xml(counted(run.up, "domain", "domains"));
  return table({{with},
                {"CPU time, each created", true},
                {"of one CPU, steady state", true},
                {"memory, all of its processes", true}},
               rows);
}

}  // namespace xenopolis::experiment
