#include "common/plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "run.h"

namespace xenopolis::bench {
namespace {

struct Curve {
  const char* figure;
  std::string suffix;  // of the subject's name in the key
};

struct Plot {
  const char* name;
  const char* title;
  const char* y_label;
  double unit;  // figures are divided by this
  bool bars;    // of one number of channels each, instead of lines over their number
  std::vector<Curve> curves;
  bool logarithmic = true;
};

const std::vector<Plot>& all_plots() {
  static const std::vector<Plot> plots = {
      {"send", "Cost of a send", "ns", 1, false, {{"send_p50_ns", ""}}},
      {"wakeup-1",
       "Cost of a wakeup, 1 port pending",
       "ns",
       1,
       false,
       {{"wakeup_1_pending_p50_ns", ""}, {"wakeup_1_pending_scattered_p50_ns", ", cold"}}},
      {"wakeup-10",
       "Cost of a wakeup, 10 ports pending",
       "ns",
       1,
       false,
       {{"wakeup_10_pending_p50_ns", ""}, {"wakeup_10_pending_scattered_p50_ns", ", cold"}}},
      {"wakeup-1000",
       "Cost of a wakeup, 1,000 ports pending",
       "us",
       1e3,
       false,
       {{"wakeup_1000_pending_p50_ns", ""}, {"wakeup_1000_pending_scattered_p50_ns", ", cold"}}},
      {"latency",
       "One-way latency, other channels idle",
       "us",
       1e3,
       true,
       {{"one_way_p50_ns", "p50"}, {"one_way_p99_ns", "p99"}, {"one_way_p99_9_ns", "p99.9"}}},
      {"latency-storm",
       "One-way latency beside a storm",
       "us",
       1e3,
       true,
       {{"one_way_storm_p50_ns", "p50"}, {"one_way_storm_p99_ns", "p99"}, {"one_way_storm_p99_9_ns", "p99.9"}}},
      {"round-trip",
       "Round trip, other channels idle",
       "us",
       1e3,
       true,
       {{"round_trip_p50_ns", "p50"}, {"round_trip_p99_ns", "p99"}, {"round_trip_p99_9_ns", "p99.9"}}},
      {"fairness",
       "Latency of lowest and highest ports, all saturated",
       "us",
       1e3,
       true,
       {{"saturated_first_ports_p50_ns", "lowest, p50"},
        {"saturated_first_ports_p99_ns", "lowest, p99"},
        {"saturated_last_ports_p50_ns", "highest, p50"},
        {"saturated_last_ports_p99_ns", "highest, p99"}}},
      {"inversion",
       "Latency of one port, all others saturated",
       "us",
       1e3,
       true,
       {{"inversion_same_priority_p50_ns", "same priority, p50"},
        {"inversion_same_priority_p99_ns", "same priority, p99"},
        {"inversion_urgent_priority_p50_ns", "highest priority, p50"},
        {"inversion_urgent_priority_p99_ns", "highest priority, p99"}}},
      {"throughput",
       "Throughput, one sender, one consumer",
       "million events/s",
       1e6,
       true,
       {{"throughput_events_per_s", "consumer sleeps"}, {"throughput_spinning_events_per_s", "consumer spins"}},
       false},
      {"memory",
       "Memory a channel",
       "bytes",
       1,
       true,
       {{"dom0_shared_bytes_per_channel", "shared with Dom0"},
        {"hypervisor_bytes_per_channel", "hypervisor"},
        {"kernel_slab_bytes_per_channel", "slabs of Linux"}}},
  };
  return plots;
}

// A block of "channels value" lines per subject and curve.
std::string line_script(const Plot& plot, const nlohmann::json& figures) {
  std::string data, commands;
  unsigned curves = 0, color = 0;  // one colour a subject
  for (const auto& subject : figures.at("subjects")) {
    ++color;
    const auto name = subject.at("name").get<std::string>();
    for (const Curve& curve : plot.curves) {
      std::string rows;
      for (const auto& point : figures.at("points")) {
        if (point.at("subject") != name || !point.contains(curve.figure)) continue;
        rows += fmt::format("{} {}\n", point.at("channels").get<uint32_t>(),
                            point.at(curve.figure).get<double>() / plot.unit);
      }
      if (rows.empty()) continue;
      data += fmt::format("$d{} << EOD\n{}EOD\n", ++curves, rows);
      commands += fmt::format("{}$d{} using 1:2 with linespoints linewidth 2 linecolor {}{} title '{}{}'",
                              commands.empty() ? "plot " : ", ", curves, color,
                              curve.suffix.empty() ? "" : " dashtype 2", name, curve.suffix);
    }
  }
  return commands.empty() ? "" : data + "set logscale x\nset xlabel 'channels'\n" + commands + "\n";
}

// A group of bars per point, one bar per curve.
std::string bar_script(const Plot& plot, const nlohmann::json& figures) {
  std::string rows, commands;
  for (const auto& point : figures.at("points")) {
    std::string row;
    bool any = false;
    for (const Curve& curve : plot.curves) {
      any = any || point.contains(curve.figure);
      row +=
          point.contains(curve.figure) ? fmt::format(" {}", point.at(curve.figure).get<double>() / plot.unit) : " NaN";
    }
    if (!any) continue;
    rows +=
        fmt::format("\"{} {}\"{}\n", point.at("subject").get<std::string>(), point.at("channels").get<uint32_t>(), row);
  }
  if (rows.empty()) return "";
  for (size_t i = 0; i < plot.curves.size(); ++i) {
    commands += fmt::format("{}$d using {}:xtic(1) title '{}'", i == 0 ? "" : ", ", i + 2, plot.curves[i].suffix);
  }
  return bar_chart(rows, 60, commands);
}

}  // namespace

bool draw_plots(const nlohmann::json& figures, const std::string& directory) {
  return std::ranges::all_of(all_plots(), [&](const Plot& plot) {
    return draw({.name = plot.name,
                 .settings = fmt::format("set terminal svg size 1000,600 background 'white'\nset title '{}'\n"
                                         "set ylabel '{}'\n{}",
                                         plot.title, plot.y_label,
                                         plot.logarithmic ? "set logscale y\n" : "set yrange [0:*]\n"),
                 .script = plot.bars ? bar_script(plot, figures) : line_script(plot, figures)},
                directory);
  });
}

}  // namespace xenopolis::bench
