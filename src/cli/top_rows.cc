#include "cli/top_rows.h"

#include <fmt/format.h>
#include <strings.h>

#include <algorithm>
#include <tuple>

#include "cli/times.h"

namespace xenopolis::cli {
namespace {

constexpr size_t kNarrowestName = 8;
constexpr size_t kUptimeWidth = 8;  // "23:59:59"

double measure(const TopRow& row, TopOrder order) {
  switch (order) {
    case TopOrder::kCpu:
      return row.cpu_percent;
    case TopOrder::kTime:
      return static_cast<double>(row.domain.cpu_time_ns);
    case TopOrder::kMemory:
      return static_cast<double>(row.domain.memory_kib);
    case TopOrder::kExits:
      return row.exits_per_s;
    case TopOrder::kHypercalls:
      return row.hypercalls_per_s;
    case TopOrder::kUpcalls:
      return row.upcalls_per_s;
    case TopOrder::kUptime:
      return -static_cast<double>(row.domain.created_ns);
    default:
      return 0;
  }
}

bool contains(std::string_view name, std::string_view text) {
  return std::search(name.begin(), name.end(), text.begin(), text.end(),
                     [](char a, char b) { return tolower(a) == tolower(b); }) != name.end();
}

// Without its middle: what tells the domains of a fleet apart are the ends of their names.
std::string shortened(const std::string& name, size_t width) {
  constexpr std::string_view kGap = "..";
  if (name.size() <= width || width < kGap.size()) return name.substr(0, width);
  const size_t kept = width - kGap.size();
  return fmt::format("{}{}{}", name.substr(0, kept - kept / 2), kGap, name.substr(name.size() - kept / 2));
}

}  // namespace

std::optional<TopOrder> top_order_named(std::string_view name) {
  for (size_t i = 0; i < std::size(kTopOrderNames); ++i) {
    if (kTopOrderNames[i] == name) return static_cast<TopOrder>(i);
  }
  return std::nullopt;
}

std::vector<TopRow> TopSampler::sample(std::vector<ListedDomain> domains, uint64_t now_ns) {
  std::vector<TopRow> rows;
  rows.reserve(domains.size());
  std::unordered_map<DomId, Counters> current;
  current.reserve(domains.size());
  for (ListedDomain& domain : domains) {
    Counters before{domain.created_ns, 0, 0, 0, 0};
    uint64_t since_ns = domain.created_ns;
    const auto found = last_.find(domain.domid);
    if (found != last_.end() && found->second.created_ns == domain.created_ns) {
      before = found->second;
      since_ns = last_ns_;
    }
    const double seconds = now_ns > since_ns ? static_cast<double>(now_ns - since_ns) / 1e9 : 0;
    const auto rate = [&](uint64_t now, uint64_t then) {
      return seconds > 0 && now > then ? static_cast<double>(now - then) / seconds : 0;
    };
    TopRow row;
    row.cpu_percent = rate(domain.cpu_time_ns, before.cpu_time_ns) / 1e7;
    row.exits_per_s = rate(domain.exits, before.exits);
    row.hypercalls_per_s = rate(domain.hypercalls, before.hypercalls);
    row.upcalls_per_s = rate(domain.upcalls, before.upcalls);
    current[domain.domid] = {domain.created_ns, domain.cpu_time_ns, domain.exits, domain.hypercalls, domain.upcalls};
    row.domain = std::move(domain);
    rows.push_back(std::move(row));
  }
  last_ = std::move(current);
  last_ns_ = now_ns;
  return rows;
}

void sort_rows(std::vector<TopRow>& rows, TopOrder order, bool reverse) {
  const auto precedes = [order](const TopRow& a, const TopRow& b) {
    if (order == TopOrder::kName)
      return std::tie(a.domain.name, a.domain.domid) < std::tie(b.domain.name, b.domain.domid);
    const double of_a = measure(a, order);
    const double of_b = measure(b, order);
    return of_a != of_b ? of_a > of_b : a.domain.domid < b.domain.domid;
  };
  std::sort(rows.begin(), rows.end(),
            [&](const TopRow& a, const TopRow& b) { return reverse ? precedes(b, a) : precedes(a, b); });
}

std::vector<TopRow> matching(const std::vector<TopRow>& rows, std::string_view text) {
  if (text.empty()) return rows;
  std::vector<TopRow> found;
  for (const TopRow& row : rows) {
    if (contains(row.domain.name, text) || std::to_string(row.domain.domid) == text) found.push_back(row);
  }
  return found;
}

size_t top_name_width(const std::vector<TopRow>& rows, size_t columns) {
  size_t longest = 0;
  for (const TopRow& row : rows) longest = std::max(longest, row.domain.name.size());
  // The header less its first and last word, and an uptime.
  constexpr std::string_view kFirst = "NAME", kLast = "UPTIME";
  const size_t others = top_header(0).size() - kFirst.size() - kLast.size() + kUptimeWidth;
  const size_t room = columns > others ? columns - others : 0;
  return std::clamp(longest, kNarrowestName, std::max(room, kTopNameWidth));
}

std::string top_header(size_t name_width) {
  return fmt::format("{:<{}} {:>5} {:<6} {:>9} {:>6} {:>9} {:>8} {:>8} {:>8} {}", "NAME", name_width, "ID", "STATE",
                     "CPU(s)", "CPU(%)", "MEM(k)", "EXITS/s", "HCALL/s", "UPCALL/s", "UPTIME");
}

std::string top_line(const TopRow& row, int64_t now_s, std::optional<size_t> name_width) {
  const ListedDomain& domain = row.domain;
  return fmt::format("{:<{}} {:5} {} {:9.2f} {:6.2f} {:9} {:8.0f} {:8.0f} {:8.0f} {}",
                     name_width ? shortened(domain.name, *name_width) : domain.name, name_width.value_or(kTopNameWidth),
                     domain.domid, state_letters(domain), static_cast<double>(domain.cpu_time_ns) / 1e9,
                     row.cpu_percent, domain.memory_kib, row.exits_per_s, row.hypercalls_per_s, row.upcalls_per_s,
                     uptime_text(std::max<int64_t>(now_s - domain.started_s, 0)));
}

std::string top_summary(const std::vector<TopRow>& rows) {
  size_t live = 0, paused = 0, shut_down = 0;
  double cpu_percent = 0;
  for (const TopRow& row : rows) {
    if (row.domain.has_shut_down()) {
      ++shut_down;
    } else {
      ++(row.domain.paused ? paused : live);
    }
    cpu_percent += row.cpu_percent;
  }
  return fmt::format("{}: {} live, {} paused, {} shut down; {:.1f} % of a CPU", so_many_domains(rows.size()), live,
                     paused, shut_down, cpu_percent);
}

nlohmann::json to_json(const TopRow& row) {
  nlohmann::json described = to_json(row.domain);
  described["cpu_percent"] = row.cpu_percent;
  described["exits_per_s"] = row.exits_per_s;
  described["hypercalls_per_s"] = row.hypercalls_per_s;
  described["upcalls_per_s"] = row.upcalls_per_s;
  return described;
}

}  // namespace xenopolis::cli
