#include "experiment/report_charts.h"

#include <algorithm>
#include <cmath>

#include "experiment/report_text.h"

namespace xenopolis::experiment {
namespace {

// An axis that begins and ends at a power of ten or half of that, with the numbers that were asked for as ticks.
Axis domains_axis(const SweepRecord& sweep) {
  std::vector<double> numbers;
  std::vector<double> wanted;
  for (const RunRecord& run : sweep.runs) {
    if (run.up == 0) continue;
    numbers.push_back(run.up);
    wanted.push_back(run.requested);
  }
  Axis axis = axis_for(Axis::Kind::kLogarithmic, numbers, "domains");
  std::sort(wanted.begin(), wanted.end());
  for (const double number : wanted) {
    const bool has_room = axis.ticks.empty() || number / axis.ticks.back().first > 1.5;
    if (has_room && number <= axis.high && number >= axis.low) axis.ticks.emplace_back(number, thousands(number));
  }
  return axis;
}

// One line a run's figure draws per ABI over the number of domains.
template <typename Value>
std::vector<Point> by_number(const std::vector<const RunRecord*>& runs, Value value) {
  std::vector<Point> points;
  for (const RunRecord* run : runs) {
    if (const double y = value(*run); y > 0) points.push_back({static_cast<double>(run->up), y});
  }
  return points;
}

void draw_line(Chart& chart, const std::vector<Point>& points, const std::string& style, const std::string& label) {
  if (points.empty()) return;
  chart.line(points, style);
  for (const Point& point : points) chart.dot(point, style);
  chart.end_label(points.back(), style, label);
}

// A line for each ABI. Where they end, in words: " FIFO: 3.75 s for 3,000.", with "for" as `at`.
template <typename Milliseconds>
std::string draw_abis(Chart& chart, const SweepRecord& sweep, std::string_view at, Milliseconds value) {
  std::string description;
  for (const std::string_view abi : kReportAbis) {
    const auto points = by_number(runs_of(sweep, abi), value);
    if (points.empty()) continue;
    const std::string last = milliseconds(points.back().y);
    draw_line(chart, points, abi_style(abi), fmt::format("{} {}", abi_name(abi), last));
    description += fmt::format(" {}: {} {} {}.", abi_name(abi), last, at, thousands(points.back().x));
  }
  return description;
}

}  // namespace

std::string all_up_chart(const SweepRecord& sweep, Width width) {
  std::vector<double> values;
  for (const RunRecord& run : sweep.runs) {
    if (run.up > 0 && run.wall_s > 0) values.push_back(run.wall_s * 1000);
  }
  if (values.empty()) return "";
  Axis x = domains_axis(sweep);
  Axis y = axis_for(Axis::Kind::kLogarithmic, values, "until all are up");
  y.ticks = time_ticks(y.low, y.high);
  Chart chart = chart_for(width, 320, x, y);
  chart.line({{std::max(x.low, y.low), std::max(x.low, y.low)}, {std::min(x.high, y.high), std::min(x.high, y.high)}},
             "guide");
  const double guide_end = std::min(x.high, y.high);
  chart.end_label({guide_end, guide_end}, "guide", "1 ms a domain");
  const std::string description =
      "Seconds until all domains are up, by their number." +
      draw_abis(chart, sweep, "for", [](const RunRecord& run) { return run.wall_s * 1000; });
  return chart.svg(frame_for(width, "all-up", "Time until all domains are up", description));
}

std::string per_domain_chart(const SweepRecord& sweep, Width width) {
  std::vector<double> values;
  const auto each_ms = [](const RunRecord& run) { return run.wall_s * 1000 / run.up; };
  // Once for each number of domains, in whichever run came first.
  std::vector<Point> floor;
  for (const RunRecord& run : sweep.runs) {
    if (run.up == 0) continue;
    values.push_back(each_ms(run));
    if (!run.floor_ms) continue;
    values.push_back(*run.floor_ms);
    floor.push_back({static_cast<double>(run.requested), *run.floor_ms});
  }
  std::stable_sort(floor.begin(), floor.end(), [](Point a, Point b) { return a.x < b.x; });
  if (values.empty()) return "";
  Chart chart = chart_for(width, 280, domains_axis(sweep), axis_for(Axis::Kind::kLinear, values, "ms a domain"));
  if (!floor.empty()) {
    chart.line(floor, "guide");
    chart.end_label(floor.back(), "guide", fmt::format("bare VM {}", milliseconds(floor.back().y)));
  }
  const std::string description =
      "Wall time divided by the number of domains." + draw_abis(chart, sweep, "a domain at", each_ms);
  return chart.svg(frame_for(width, "per-domain", "Time per domain", description));
}

std::string one_after_the_other_chart(const SweepRecord& sweep, Width width) {
  const RunRecord* run = largest_run(sweep);
  std::vector<double> values;
  std::vector<Point> low;
  std::vector<Point> median;
  std::vector<Point> high;
  for (const GroupRecord& group : run->evenly) {
    const double x = (group.first + group.last) / 2;
    low.push_back({x, group.p10_ms});
    median.push_back({x, group.p50_ms});
    high.push_back({x, group.p90_ms});
    values.insert(values.end(), {group.p10_ms, group.p90_ms});
  }
  if (values.empty() || *std::min_element(values.begin(), values.end()) <= 0) return "";
  Axis x = axis_for(Axis::Kind::kLinear, {static_cast<double>(run->up)}, "domain, in the order of creation");
  x.high = run->up;
  Axis y = axis_for(Axis::Kind::kLogarithmic, values, "from request to up");
  if (y.high / y.low > 50) y.ticks = time_ticks(y.low, y.high);
  if (y.ticks.empty()) y.title += ", ms";
  Chart chart = chart_for(width, 260, x, y);
  const std::string style = abi_style(run->event_abi);
  chart.band(low, high, style);
  chart.line(median, style);
  chart.end_label(median.back(), style, "50 %: " + milliseconds(median.back().y));
  chart.end_label(high.back(), style + " note", "90 %: " + milliseconds(high.back().y));
  return chart.svg(
      frame_for(width, "in-order", "Creation in its order",
                fmt::format("Median of the first {} domains: {}; of the last: {}.", thousands(run->evenly.front().last),
                            milliseconds(median.front().y), milliseconds(median.back().y))));
}

std::string latency_chart(const SweepRecord& sweep, std::string_view event_abi, Width width) {
  std::vector<double> values;
  double highest = 1;
  const auto nines = [](double fraction) { return -std::log10(1 - fraction); };
  for (const RunRecord& run : sweep.runs) {
    for (const auto& [fraction, us] : run.ping_curve) {
      if (fraction > 0 && us > 0) values.push_back(us / 1000);
      highest = std::max(highest, nines(fraction));
    }
  }
  const auto runs = runs_of(sweep, event_abi);
  if (values.empty() || runs.empty()) return "";
  Axis x{Axis::Kind::kLinear, 0, highest, "share of round trips that took no longer", {}};
  for (const double fraction : {0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999}) {
    if (width == Width::kNarrow && fraction < 0.5) continue;  // no room
    if (nines(fraction) <= highest + 0.01) x.ticks.emplace_back(nines(fraction), fmt::format("{:g} %", fraction * 100));
  }
  Axis y = axis_for(Axis::Kind::kLogarithmic, values, "round trip, " + abi_name(event_abi));
  y.ticks = time_ticks(y.low, y.high);
  Chart chart = chart_for(width, 250, x, y, 170);
  std::string description = "Distribution of the round trips of pings from Dom0.";
  for (size_t index = 0; index < runs.size(); ++index) {
    const RunRecord& run = *runs[index];
    std::vector<Point> points;
    for (const auto& [fraction, us] : run.ping_curve) {
      if (fraction > 0) points.push_back({nines(fraction), us / 1000});
    }
    if (points.empty()) continue;
    const bool is_last = index + 1 == runs.size();
    const std::string style = abi_style(event_abi) + (is_last ? "" : " thin pale");
    chart.line(points, style);
    chart.end_label(points.back(), is_last ? abi_style(event_abi) : "note",
                    width == Width::kWide ? fmt::format("{} domains", thousands(run.up)) : thousands(run.up));
    description += fmt::format(" {} domains: half took at most {}, 99 % at most {}.", thousands(run.up),
                               milliseconds(run.ping_p50_us / 1000), milliseconds(run.ping_p99_us / 1000));
  }
  return chart.svg(
      frame_for(width, fmt::format("latency-{}", event_abi), "Round trips, " + abi_name(event_abi), description));
}

std::string memory_chart(const SweepRecord& sweep, Width width) {
  struct Row {
    std::string label;
    std::string style;
    double kib;
  };
  std::vector<Row> rows;
  const RunRecord* largest = largest_run(sweep);
  for (const RunRecord* run : runs_of(sweep, largest->event_abi)) {
    if (!run->has_memory()) continue;
    rows.push_back({counted(run->up, "domain", "domains"), abi_style(run->event_abi), run->memory_kib_per_domain});
  }
  for (const PeerRecord& peer : sweep.peers) {
    if (peer.started > 0 && peer.memory_kib_each > 0) {
      rows.push_back({fmt::format("{} × {}", thousands(peer.started), peer.name), "peer", peer.memory_kib_each});
    }
  }
  if (rows.empty()) return "";
  std::vector<double> values;
  for (const Row& row : rows) values.push_back(row.kib);
  // Steps of four: KiB and MiB have no powers of ten in common.
  const auto [lowest, highest] = std::minmax_element(values.begin(), values.end());
  Axis x{Axis::Kind::kLogarithmic,
         std::pow(4, std::floor(std::log2(*lowest) / 2)),
         std::pow(4, std::max(std::ceil(std::log2(*highest) / 2), std::floor(std::log2(*lowest) / 2) + 1)),
         "memory of the machine for each",
         {}};
  const double step = width == Width::kWide ? 4 : 16;
  for (double kib = x.low; kib <= x.high * 1.001; kib *= step) {
    x.ticks.emplace_back(kib, kib < 1024 ? fmt::format("{:g} KiB", kib) : fmt::format("{:g} MiB", kib / 1024));
  }
  Axis y{Axis::Kind::kLinear, 0, static_cast<double>(rows.size()), "", {}};
  for (size_t index = 0; index < rows.size(); ++index) {
    y.ticks.emplace_back(static_cast<double>(rows.size() - index) - 0.5, rows[index].label);
  }
  Chart chart = chart_for(width, 76 + 26 * static_cast<double>(rows.size()),
                          {width == Width::kWide ? 190.0 : 160.0, 84, 20, 46}, x, y);
  std::string description = "Memory for each, all included, on a logarithmic axis.";
  for (size_t index = 0; index < rows.size(); ++index) {
    const Point at{rows[index].kib, y.ticks[index].first};
    chart.dot(at, rows[index].style);
    chart.text(at, 9, 4, "start", rows[index].style + " halo label", kibibytes(rows[index].kib));
    description += fmt::format(" {}: {}.", rows[index].label, kibibytes(rows[index].kib));
  }
  return chart.svg(frame_for(width, "memory", "Memory for each domain", description));
}

namespace {

// The programs of a host, in the order of their labels, with their style and what people call them.
struct Program {
  std::string_view name;
  std::string_view style;
  std::string_view label;
};
constexpr Program kPrograms[] = {{"polis-cell", "cells", "cells"},
                                 {"polis-xenstored", "store", "xenstored"},
                                 {"polis-consoled", "console", "consoled"},
                                 {"polisd", "polisd", "polisd"}};

// `value`: of one program in one run.
template <typename Value>
std::string load_chart(const SweepRecord& sweep, Width width, const std::string& id, const std::string& title,
                       const std::string& axis_title, std::string_view unit, Value value) {
  const auto runs = runs_of(sweep, largest_run(sweep)->event_abi);
  std::vector<double> values;
  for (const Program& program : kPrograms) {
    for (const Point& point : by_number(runs, [&](const RunRecord& run) { return value(run, program.name); })) {
      values.push_back(point.y);
    }
  }
  if (values.empty()) return "";
  Axis y = axis_for(Axis::Kind::kLogarithmic, values, axis_title);
  Chart chart = chart_for(width, 280, domains_axis(sweep), y);
  std::string description;
  for (const Program& program : kPrograms) {
    const auto points = by_number(runs, [&](const RunRecord& run) { return value(run, program.name); });
    if (points.empty()) continue;
    const std::string figure = fmt::format("{}{}", three_digits(points.back().y), unit);
    draw_line(chart, points, std::string(program.style),
              width == Width::kWide ? fmt::format("{} {}", program.label, figure) : std::string(program.label));
    description += fmt::format("{} with {} domains: {}. ", program.name, thousands(points.back().x), figure);
  }
  return chart.svg(frame_for(width, id, title, description));
}

double cpu_s(const std::map<std::string, LoadRecord>& load, std::string_view program) {
  const auto found = load.find(std::string(program));
  return found == load.end() ? 0 : found->second.cpu_s;
}

}  // namespace

std::string creation_load_chart(const SweepRecord& sweep, Width width) {
  return load_chart(
      sweep, width, "creation-load", "CPU time for each domain that is created", "CPU time, ms a domain created", " ms",
      [](const RunRecord& run, std::string_view program) { return cpu_s(run.creation_load, program) * 1000 / run.up; });
}

std::string steady_load_chart(const SweepRecord& sweep, Width width) {
  return load_chart(sweep, width, "steady-load", "CPU time in the steady state", "% of one CPU, steady state", " %",
                    [](const RunRecord& run, std::string_view program) {
                      return run.steady_s > 0 ? cpu_s(run.steady_load, program) * 100 / run.steady_s : 0;
                    });
}

}  // namespace xenopolis::experiment
