// How long one more domain takes, beside what others need: the diagram that stands first.
#include <algorithm>
#include <cmath>

#include "experiment/published.h"
#include "experiment/report_charts.h"
#include "experiment/report_style.h"
#include "experiment/report_text.h"

namespace xenopolis::experiment {
namespace {

constexpr double kFewestForMedian = 4;

double middle(const GroupRecord& group) {
  return std::sqrt(group.first * group.last);
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

std::string creation_chart(const SweepRecord& sweep, Width width) {
  const CreationScene scene = creation_scene(sweep);
  Chart chart = chart_for(width, width == Width::kWide ? 460 : 420, scene.x, scene.y, 150, 58);
  draw_creation(chart, sweep, scene, width);
  return chart.svg(frame_for(width, "creation", "Time to create one more domain", creation_description(sweep, scene)));
}

std::string creation_picture(const SweepRecord& sweep) {
  const CreationScene scene = creation_scene(sweep);
  Chart chart = chart_for(Width::kWide, 430, scene.x, scene.y, 150, 58);
  draw_creation(chart, sweep, scene, Width::kWide);
  Chart::Frame picture =
      frame_for(Width::kWide, "picture", "Time to create one more domain", creation_description(sweep, scene));
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

}  // namespace xenopolis::experiment
