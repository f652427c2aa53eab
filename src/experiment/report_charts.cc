#include "experiment/report_charts.h"

#include <algorithm>
#include <cmath>

#include "experiment/chart.h"
#include "experiment/published.h"
#include "experiment/report_style.h"
#include "experiment/report_text.h"

namespace xenopolis::experiment {
namespace {

constexpr double kWideWidth = 852;
constexpr double kNarrowWidth = 380;
constexpr double kNarrowRight = 126;
// With fewer the machine's available memory says more about what else happens there.
constexpr uint32_t kFewestForMemory = 300;
constexpr double kFewestForMedian = 4;

std::string abi_style(std::string_view event_abi) {
  return event_abi == "fifo" ? "fifo" : fmt::format("abi-{}", event_abi);
}

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

Chart::Margins margins(Width width, double right, double left = 56) {
  return {left, width == Width::kWide ? right : kNarrowRight, 30, 46};
}

double pixels(Width width) {
  return width == Width::kWide ? kWideWidth : kNarrowWidth;
}

Chart::Frame frame(std::string_view id, Width width, std::string title, std::string description) {
  return {fmt::format("{}-{}", id, width == Width::kWide ? "w" : "n"),
          std::move(title),
          std::move(description),
          width == Width::kWide ? "wide" : "narrow",
          "",
          "",
          0,
          0};
}

// Lines at powers of ten, with units that people use.
std::vector<std::pair<double, std::string>> time_ticks(double low_ms, double high_ms) {
  std::vector<std::pair<double, std::string>> ticks;
  for (int power = -3; power <= 6; ++power) {
    const double ms = std::pow(10, power);
    if (ms < low_ms * 0.999 || ms > high_ms * 1.001) continue;
    ticks.emplace_back(ms, power < 0   ? fmt::format("{:g} µs", ms * 1000)
                           : power < 3 ? fmt::format("{:g} ms", ms)
                                       : fmt::format("{:g} s", ms / 1000));
  }
  return ticks;
}

double middle(const GroupRecord& group) {
  return std::sqrt(group.first * group.last);
}

std::vector<double> numbers_of_domains(const SweepRecord& sweep) {
  std::vector<double> numbers;
  for (const RunRecord& run : sweep.runs) {
    if (run.up > 0) numbers.push_back(run.up);
  }
  return numbers;
}

// An axis that begins and ends at a power of ten or half of that, with the numbers that were asked for as ticks.
Axis domains_axis(const SweepRecord& sweep) {
  Axis axis = axis_for(Axis::Kind::kLogarithmic, numbers_of_domains(sweep), "domains");
  std::vector<double> wanted;
  for (const RunRecord& run : sweep.runs) {
    if (run.up > 0) wanted.push_back(run.requested);
  }
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

// What the creation diagram has to show, and hence its axes.
struct CreationScene {
  const RunRecord* run;
  std::vector<Point> first;  // too few at a time for a median
  std::vector<Point> ours;
  std::vector<Point> low;
  std::vector<Point> high;
  Axis x;
  Axis y;
};

CreationScene creation_scene(const SweepRecord& sweep) {
  CreationScene scene{largest_run(sweep), {}, {}, {}, {}, {}, {}};
  std::vector<double> numbers{1, 10};
  std::vector<double> times;
  for (const GroupRecord& group : scene.run->by_domain) {
    const Point at{middle(group), group.p50_ms};
    numbers.push_back(at.x);
    times.insert(times.end(), {group.p10_ms, group.p50_ms});
    if (group.last - group.first + 1 < kFewestForMedian) {
      scene.first.push_back(at);
      continue;
    }
    scene.ours.push_back(at);
    scene.low.push_back({at.x, group.p10_ms});
    scene.high.push_back({at.x, group.p90_ms});
  }
  for (const PeerRecord& peer : sweep.peers) {
    if (peer.started > 0) times.push_back(peer.each_p50_ms / 1.5);  // room for its label
  }
  for (const Published& theirs : published()) {
    if (theirs.label.empty()) continue;
    numbers.insert(numbers.end(), {theirs.x1, std::max(theirs.x1, theirs.x2)});
    times.insert(times.end(), {theirs.ms1 / 1.5, std::max(theirs.ms1, theirs.ms2)});
  }
  times.erase(std::remove_if(times.begin(), times.end(), [](double ms) { return ms <= 0; }), times.end());
  scene.x = axis_for(Axis::Kind::kLogarithmic, numbers, "domains or instances there already");
  scene.y = axis_for(Axis::Kind::kLogarithmic, times, "from request to up");
  scene.y.high *= 1.6;  // room for a label above the highest
  scene.y.ticks = time_ticks(scene.y.low, scene.y.high);
  return scene;
}

// On narrow diagrams the name alone: the table has the figures.
std::string_view label_for(std::string_view label, Width width) {
  return width == Width::kWide ? label : label.substr(0, label.find_first_of("0123456789") - 1);
}

void draw_theirs(Chart& chart, Width width) {
  for (const Published& theirs : published()) {
    if (theirs.label.empty()) continue;
    const Point first{theirs.x1, theirs.ms1};
    const Point second{theirs.x2, theirs.ms2};
    std::vector<Point> points{first};
    chart.diamond(first, "theirs");
    if (theirs.x2 > 0) {
      chart.line({first, second}, "theirs");
      chart.diamond(second, "theirs");
      points.push_back(second);
    }
    chart.label(points, "theirs", label_for(theirs.label, width));
  }
}

// Where an ABI stopped that others of the sweep went beyond.
void draw_wall(Chart& chart, const SweepRecord& sweep, const CreationScene& scene, Width width) {
  for (const RunRecord& run : sweep.runs) {
    if (!run.wall || run.event_abi == scene.run->event_abi || run.by_domain.empty()) continue;
    const auto x = static_cast<double>(run.wall->first);
    chart.line({{x, scene.y.low}, {x, scene.y.high}}, abi_style(run.event_abi) + " wall");
    chart.text({x, scene.y.high}, -8, 10, "end", abi_style(run.event_abi) + " halo label",
               abi_name(run.event_abi) + " ends" + (width == Width::kWide ? ": domain " + thousands(x) : ""));
    return;
  }
}

void draw_creation(Chart& chart, const SweepRecord& sweep, const CreationScene& scene, Width width) {
  const std::string style = abi_style(scene.run->event_abi);
  chart.band(scene.low, scene.high, style);
  draw_wall(chart, sweep, scene, width);
  draw_theirs(chart, width);
  for (const Point& at : scene.first) chart.dot(at, style + " early");
  chart.line(scene.ours, style);
  for (const PeerRecord& peer : sweep.peers) {
    if (peer.started == 0) continue;
    const Point at{static_cast<double>(peer.started), peer.each_p50_ms};
    chart.dot(at, "peer");
    chart.label({at}, "peer label",
                width == Width::kWide ? fmt::format("{} {}", peer.name, milliseconds(peer.each_p50_ms)) : peer.name);
  }
  const std::vector<Point>& named = scene.ours.empty() ? scene.first : scene.ours;
  if (named.empty()) return;
  chart.end_label(named.back(), style,
                  fmt::format("{} {}", width == Width::kWide ? "Xenopolis" : "here", milliseconds(named.back().y)));
}

std::string creation_description(const SweepRecord& sweep, const CreationScene& scene) {
  std::string text =
      fmt::format("Time from request to up on logarithmic axes. {} domains on Xenopolis: ", thousands(scene.run->up));
  if (!scene.ours.empty()) {
    text += fmt::format("about {} beside {} others, {} at the end (medians).", milliseconds(scene.ours.front().y),
                        thousands(scene.ours.front().x), milliseconds(scene.ours.back().y));
  }
  for (const PeerRecord& peer : sweep.peers) {
    if (peer.started > 0)
      text += fmt::format(" On the same machine: {} {}.", peer.name, milliseconds(peer.each_p50_ms));
  }
  for (const Published& theirs : published()) {
    if (!theirs.label.empty()) text += fmt::format(" Published by others: {} {}.", theirs.who, theirs.figure);
  }
  return text;
}

}  // namespace

std::string abi_name(std::string_view event_abi) {
  return event_abi == "fifo" ? "FIFO"
         : event_abi == "3l" ? "3-level"
         : event_abi == "2l" ? "2-level"
                             : std::string(event_abi);
}

std::vector<const RunRecord*> runs_of(const SweepRecord& sweep, std::string_view event_abi) {
  std::vector<const RunRecord*> runs;
  for (const RunRecord& run : sweep.runs) {
    if (run.event_abi == event_abi && run.up > 0) runs.push_back(&run);
  }
  std::stable_sort(runs.begin(), runs.end(), [](const RunRecord* a, const RunRecord* b) { return a->up < b->up; });
  return runs;
}

const RunRecord* largest_run(const SweepRecord& sweep) {
  const RunRecord* largest = nullptr;
  for (const std::string_view abi : kReportAbis) {
    const auto runs = runs_of(sweep, abi);
    if (!runs.empty() && (largest == nullptr || runs.back()->up > largest->up)) largest = runs.back();
  }
  return largest;
}

std::string what_domains_do_meanwhile(const SweepRecord& sweep) {
  const RunRecord& run = *largest_run(sweep);
  if (run.beats == 0 || run.steady_s <= 0) return "";
  const double beats_a_second = static_cast<double>(run.beats) / run.steady_s;
  const double each = beats_a_second / run.up;
  std::string text =
      fmt::format("Each domain beats {} meanwhile",
                  each > 0.95 && each < 1.05 ? "once a second" : fmt::format("{} times a second", three_digits(each)));
  double cpus = 0;
  for (const auto& [program, load] : run.steady_load) cpus += load.cpu_s / run.steady_s;
  if (cpus > 0) {
    text += fmt::format(", which takes {} of {} in the end", three_digits(cpus),
                        counted(static_cast<double>(sweep.machine.cpus), "CPU", "CPUs"));
  }
  const bool has_peers =
      std::any_of(sweep.peers.begin(), sweep.peers.end(), [](const PeerRecord& peer) { return peer.started > 0; });
  return text + (has_peers ? "; the peers (violet) only sleep." : ".");
}

std::string creation_chart(const SweepRecord& sweep, Width width) {
  const CreationScene scene = creation_scene(sweep);
  Chart chart(pixels(width), width == Width::kWide ? 460 : 420, margins(width, 150, 58), scene.x, scene.y);
  draw_creation(chart, sweep, scene, width);
  return chart.svg(frame("creation", width, "Time to create one more domain", creation_description(sweep, scene)));
}

std::string creation_picture(const SweepRecord& sweep) {
  const CreationScene scene = creation_scene(sweep);
  Chart chart(kWideWidth, 430, margins(Width::kWide, 150, 58), scene.x, scene.y);
  draw_creation(chart, sweep, scene, Width::kWide);
  Chart::Frame picture =
      frame("picture", Width::kWide, "Time to create one more domain", creation_description(sweep, scene));
  const MachineRecord& machine = sweep.machine;
  picture.style =
      fmt::format("svg {{{}}}\n@media (prefers-color-scheme: dark) {{ svg {{{}}} }}\n.paper {{ fill: var(--page); }}{}",
                  kLightColours, kDarkColours, kChartStyle);
  picture.padding = 16;
  picture.offset_y = 84;
  picture.extra_height = 42;
  const double bottom = 430 + picture.offset_y;
  const RunRecord& run = *scene.run;
  const auto line = [](std::string_view style, double y, const std::string& text) {
    return fmt::format("<text class=\"{}\" x=\"0\" y=\"{:g}\">{}</text>\n", style, y, escape_xml(text));
  };
  picture.extra = "<rect class=\"paper\" x=\"-16\" y=\"-16\" width=\"100%\" height=\"100%\"/>\n";
  picture.extra +=
      line("heading", 22,
           fmt::format("How long one more Xen domain takes, beside up to {} on {}", thousands(run.up),
                       counted(static_cast<double>(machine.cpus), "CPU", "CPUs"))) +
      line(
          "subheading", 46,
          fmt::format("{} backend, {} event channels, {} at the same time; line: median, band: middle 80 %, blue dots: "
                      "the first few.",
                      run.backend, abi_name(run.event_abi), run.window)) +
      line("subheading", 65, what_domains_do_meanwhile(sweep)) +
      line("note", bottom + 20,
           "Filled marks: measured here, in one sweep, on one machine. Hollow marks: published by others, on their "
           "hardware.") +
      line("note", bottom + 38,
           fmt::format("{}, {}, {}, {}", machine.cpu, kibibytes(static_cast<double>(machine.memory_mib) * 1024),
                       machine.kernel, machine.date.substr(0, 10)));
  return chart.svg(picture);
}

std::string all_up_chart(const SweepRecord& sweep, Width width) {
  std::vector<double> values;
  for (const RunRecord& run : sweep.runs) {
    if (run.up > 0 && run.wall_s > 0) values.push_back(run.wall_s * 1000);
  }
  if (values.empty()) return "";
  Axis x = domains_axis(sweep);
  Axis y = axis_for(Axis::Kind::kLogarithmic, values, "until all are up");
  y.ticks = time_ticks(y.low, y.high);
  Chart chart(pixels(width), 320, margins(width, 150), x, y);
  chart.line({{std::max(x.low, y.low), std::max(x.low, y.low)}, {std::min(x.high, y.high), std::min(x.high, y.high)}},
             "guide");
  const double guide_end = std::min(x.high, y.high);
  chart.end_label({guide_end, guide_end}, "guide", "1 ms a domain");
  std::string description = "Seconds until all domains are up, by their number.";
  for (const std::string_view abi : kReportAbis) {
    const auto points = by_number(runs_of(sweep, abi), [](const RunRecord& run) { return run.wall_s * 1000; });
    if (points.empty()) continue;
    draw_line(chart, points, abi_style(abi), fmt::format("{} {}", abi_name(abi), milliseconds(points.back().y)));
    description +=
        fmt::format(" {}: {} for {}.", abi_name(abi), milliseconds(points.back().y), thousands(points.back().x));
  }
  return chart.svg(frame("all-up", width, "Time until all domains are up", description));
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
  Chart chart(pixels(width), 280, margins(width, 150), domains_axis(sweep),
              axis_for(Axis::Kind::kLinear, values, "ms a domain"));
  std::string description = "Wall time divided by the number of domains.";
  if (!floor.empty()) {
    chart.line(floor, "guide");
    chart.end_label(floor.back(), "guide", fmt::format("bare VM {}", milliseconds(floor.back().y)));
  }
  for (const std::string_view abi : kReportAbis) {
    const auto runs = runs_of(sweep, abi);
    const auto points = by_number(runs, each_ms);
    if (points.empty()) continue;
    draw_line(chart, points, abi_style(abi), fmt::format("{} {}", abi_name(abi), milliseconds(points.back().y)));
    description += fmt::format(" {}: {} a domain at {}.", abi_name(abi), milliseconds(points.back().y),
                               thousands(points.back().x));
  }
  return chart.svg(frame("per-domain", width, "Time per domain", description));
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
  Chart chart(pixels(width), 260, margins(width, 150), x, y);
  const std::string style = abi_style(run->event_abi);
  chart.band(low, high, style);
  chart.line(median, style);
  chart.end_label(median.back(), style, "50 %: " + milliseconds(median.back().y));
  chart.end_label(high.back(), style + " note", "90 %: " + milliseconds(high.back().y));
  return chart.svg(
      frame("in-order", width, "Creation in its order",
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
  Chart chart(pixels(width), 250, margins(width, 170), x, y);
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
      frame(fmt::format("latency-{}", event_abi), width, "Round trips, " + abi_name(event_abi), description));
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
    if (run->memory_kib_per_domain > 0 && (run->up >= kFewestForMemory || run == largest)) {
      rows.push_back({counted(run->up, "domain", "domains"), abi_style(run->event_abi), run->memory_kib_per_domain});
    }
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
  Chart chart(pixels(width), 76 + 26 * static_cast<double>(rows.size()),
              {width == Width::kWide ? 190.0 : 160.0, 84, 20, 46}, x, y);
  std::string description = "Memory for each, all included, on a logarithmic axis.";
  for (size_t index = 0; index < rows.size(); ++index) {
    const Point at{rows[index].kib, y.ticks[index].first};
    chart.dot(at, rows[index].style);
    chart.text(at, 9, 4, "start", rows[index].style + " halo label", kibibytes(rows[index].kib));
    description += fmt::format(" {}: {}.", rows[index].label, kibibytes(rows[index].kib));
  }
  return chart.svg(frame("memory", width, "Memory for each domain", description));
}

namespace {

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
  Chart chart(pixels(width), 280, margins(width, 150), domains_axis(sweep), y);
  std::string description;
  for (const Program& program : kPrograms) {
    const auto points = by_number(runs, [&](const RunRecord& run) { return value(run, program.name); });
    if (points.empty()) continue;
    const std::string figure = fmt::format("{}{}", three_digits(points.back().y), unit);
    draw_line(chart, points, std::string(program.style),
              width == Width::kWide ? fmt::format("{} {}", program.label, figure) : std::string(program.label));
    description += fmt::format("{} with {} domains: {}. ", program.name, thousands(points.back().x), figure);
  }
  return chart.svg(frame(id, width, title, description));
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
