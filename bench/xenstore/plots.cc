#include "plots.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <vector>

namespace xenopolis::bench {
namespace {

struct Curve {
  const char* figure;
  const char* title;
};

struct Plot {
  const char* name;
  const char* title;
  const char* measurement;
  const char* x_label;  // nullptr: bars, a group for each curve, instead of lines over the number
  const char* y_label;
  double unit;  // figures are divided by this
  std::vector<Curve> curves;
};

const std::vector<Plot>& all_plots() {
  static const std::vector<Plot> plots = {
      {"xenstore-single",
       "One request after the other",
       "single",
       nullptr,
       "us",
       1e3,
       {{"read_p50_ns", "read"},
        {"write_p50_ns", "write"},
        {"directory_p50_ns", "directory"},
        {"get_perms_p50_ns", "get_perms"},
        {"mkdir_rm_p50_ns", "mkdir + rm"},
        {"watch_unwatch_p50_ns", "watch + unwatch"}}},
      {"xenstore-cpu",
       "CPU time of the daemon for them",
       "single",
       nullptr,
       "us",
       1e3,
       {{"read_daemon_cpu_ns", "read"},
        {"write_daemon_cpu_ns", "write"},
        {"directory_daemon_cpu_ns", "directory"},
        {"get_perms_daemon_cpu_ns", "get_perms"},
        {"mkdir_rm_daemon_cpu_ns", "mkdir + rm"},
        {"watch_unwatch_daemon_cpu_ns", "watch + unwatch"}}},
      {"xenstore-pipelined",
       "Pipelined requests",
       "pipelined",
       nullptr,
       "thousand a second",
       1e3,
       {{"read_requests_per_s", "read"}, {"write_requests_per_s", "write"}}},
      {"xenstore-conflict",
       "Clients in conflict",
       "conflict",
       nullptr,
       "commits a second",
       1,
       {{"counter_commits_per_s", "a counter"}, {"siblings_commits_per_s", "siblings"}}},
      {"xenstore-watches",
       "A write that fires one watch of many",
       "watches",
       "watches",
       "us",
       1e3,
       {{"write_fires_one_p50_ns", ""}}},
      {"xenstore-connections",
       "A read beside idle connections",
       "connections",
       "connections",
       "us",
       1e3,
       {{"read_p50_ns", ""}}},
      {"xenstore-create", "Creating a domain beside others", "create", "guests", "ms", 1e6, {{"create_p50_ns", ""}}},
      {"xenstore-rings",
       "Reads of a guest, and its watch, beside other guests",
       "rings",
       "guests",
       "us",
       1e3,
       {{"guest_read_p50_ns", ", read"}, {"guest_watch_p50_ns", ", watch"}}},
      {"xenstore-memory", "Resident memory", "memory", "guests", "MB", 1e6, {{"resident_bytes", ""}}},
  };
  return plots;
}

// "at value" lines.
std::string rows_of(const Plot& plot, const Curve& curve, const std::string& daemon, const nlohmann::json& figures) {
  std::string rows;
  for (const auto& point : figures.at("points")) {
    if (point.at("measurement") != plot.measurement || point.at("daemon") != daemon) continue;
    if (!point.contains(curve.figure)) continue;
    // A logarithmic axis has no 0: it is drawn at 1.
    rows += fmt::format("{} {}\n", std::max(1u, point.at("at").get<uint32_t>()),
                        point.at(curve.figure).get<double>() / plot.unit);
  }
  return rows;
}

std::string line_script(const Plot& plot, const nlohmann::json& figures) {
  std::string data, commands;
  unsigned curves = 0, color = 0;  // one colour a daemon
  for (const auto& daemon : figures.at("daemons")) {
    ++color;
    const auto name = daemon.at("name").get<std::string>();
    unsigned dash = 0;
    for (const Curve& curve : plot.curves) {
      const std::string rows = rows_of(plot, curve, name, figures);
      ++dash;
      if (rows.empty()) continue;
      data += fmt::format("$d{} << EOD\n{}EOD\n", ++curves, rows);
      commands += fmt::format("{}$d{} using 1:2 with linespoints linewidth 2 linecolor {} dashtype {} title '{}{}'",
                              commands.empty() ? "plot " : ", ", curves, color, dash, name, curve.title);
    }
  }
  return commands.empty() ? ""
                          : data + fmt::format("set logscale xy\nset xlabel '{}'\n", plot.x_label) + commands + "\n";
}

// A group of bars per curve, one bar per daemon.
std::string bar_script(const Plot& plot, const nlohmann::json& figures) {
  std::string rows, commands;
  bool any = false;
  for (const Curve& curve : plot.curves) {
    rows += fmt::format("\"{}\"", curve.title);
    for (const auto& daemon : figures.at("daemons")) {
      const std::string row = rows_of(plot, curve, daemon.at("name"), figures);
      any = any || !row.empty();
      rows += row.empty() ? " NaN" : row.substr(row.find(' '), row.find('\n') - row.find(' '));
    }
    rows += "\n";
  }
  if (!any) return "";
  unsigned column = 1;
  for (const auto& daemon : figures.at("daemons")) {
    commands += fmt::format("{}$d using {}:xtic(1) title '{}'", column == 1 ? "plot " : ", ", column + 1,
                            daemon.at("name").get<std::string>());
    ++column;
  }
  return fmt::format(
      "$d << EOD\n{}EOD\nset style data histogram\nset style histogram clustered gap 1\nset yrange [0:*]\n"
      "set style fill solid 0.8\nset xtics rotate by 30 right\nset boxwidth 0.9\n{}\n",
      rows, commands);
}

}  // namespace

bool can_plot() {
  return std::system("gnuplot --version >/dev/null 2>&1") == 0;
}

bool draw_plots(const nlohmann::json& figures, const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  for (const Plot& plot : all_plots()) {
    const std::string script = plot.x_label == nullptr ? bar_script(plot, figures) : line_script(plot, figures);
    if (script.empty()) continue;  // was not measured
    const auto path = std::filesystem::path(directory) / plot.name;
    std::ofstream file(path.string() + ".gp");
    file << fmt::format(
        "set terminal svg noenhanced size 800,500 background 'white'\nset output '{}.svg'\nset title '{}'\nset ylabel "
        "'{}'\n"
        "set grid\nset key outside right top\n{}",
        path.string(), plot.title, plot.y_label, script);
    file.close();
    if (!file || std::system(fmt::format("gnuplot '{}.gp'", path.string()).c_str()) != 0) {
      fmt::print(stderr, "xenstore: {}.svg could not be drawn\n", path.string());
      return false;
    }
  }
  return true;
}

}  // namespace xenopolis::bench
