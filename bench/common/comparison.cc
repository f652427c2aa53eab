#include "common/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "common/environment.h"
#include "common/plots.h"

namespace xenopolis::bench {
namespace {

// Those of which this was measured.
std::vector<std::string> daemons_of(const nlohmann::json& figures, std::string_view measurement) {
  std::vector<std::string> names;
  for (const auto& daemon : figures.at("daemons")) {
    const bool any = std::ranges::any_of(figures.at("points"), [&](const nlohmann::json& point) {
      return point.at("measurement") == measurement && point.at("daemon") == daemon.at("name");
    });
    if (any) names.push_back(daemon.at("name"));
  }
  return names;
}

// Ascending, each once.
std::set<uint32_t> numbers_of(const nlohmann::json& figures, std::string_view measurement) {
  std::set<uint32_t> numbers;
  for (const auto& point : figures.at("points")) {
    if (point.at("measurement") == measurement) numbers.insert(point.at("at").get<uint32_t>());
  }
  return numbers;
}

// The point's figure, or nothing.
const nlohmann::json* find(const nlohmann::json& figures, std::string_view measurement, const std::string& daemon,
                           uint32_t at, const std::string& key) {
  for (const auto& point : figures.at("points")) {
    if (point.at("measurement") != measurement || point.at("daemon") != daemon || point.at("at") != at) continue;
    const auto figure = point.find(key);
    return figure == point.end() ? nullptr : &*figure;
  }
  return nullptr;
}

// With fewer digits the larger it is.
std::string number(double value, int digits) {
  return fmt::format("{:.{}f}", value, value < 10'000 ? digits : 0);
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
    commands += fmt::format("{}$d using {}:xtic(1) title '{}'", column == 1 ? "" : ", ", column + 1,
                            daemon.at("name").get<std::string>());
    ++column;
  }
  return "set yrange [0:*]\n" + bar_chart(rows, 30, commands);
}

}  // namespace

void print_head(const nlohmann::json& figures) {
  print_environment(figures.at("environment"));
  fmt::print("{} rounds, {} s a measurement\n", figures.at("rounds").get<int>(),
             figures.at("seconds_per_measurement").get<double>());
  for (const auto& daemon : figures.at("daemons")) {
    fmt::print("{}: {}\n", daemon.at("name").get<std::string>(), daemon.at("description").get<std::string>());
  }
  for (const auto& what : figures.at("left_out")) fmt::print("{}\n", what.get<std::string>());
}

void print_table(const nlohmann::json& figures, std::string_view title, std::string_view measurement,
                 const std::vector<Row>& rows, const std::vector<Column>& columns, bool show_number) {
  constexpr int kLabelWidth = 30, kWidth = 9;
  const auto daemons = daemons_of(figures, measurement);
  std::string lines;
  for (const Row& row : rows) {
    for (const uint32_t at : numbers_of(figures, measurement)) {
      std::string line =
          fmt::format("{:<{}}", show_number ? fmt::format("{} {}", row.label, at) : row.label, kLabelWidth);
      bool any = false;
      std::vector<double> firsts;
      for (const std::string& daemon : daemons) {
        for (const Column& column : columns) {
          const auto* value = find(figures, measurement, daemon, at, row.figure + column.suffix);
          any = any || value != nullptr;
          line += value == nullptr
                      ? fmt::format(" {:>{}}", "-", kWidth)
                      : fmt::format(" {:>{}}", number(value->get<double>() / column.unit, column.digits), kWidth);
          if (value != nullptr && &column == &columns.front()) firsts.push_back(value->get<double>());
        }
        line += "  ";
      }
      if (firsts.size() > 1) line += fmt::format("{:>{}.2f}", firsts.back() / firsts.front(), kWidth);
      if (any) lines += line + "\n";
    }
  }
  if (lines.empty()) return;  // not measured
  std::string names(kLabelWidth, ' '), titles = names;
  for (const std::string& daemon : daemons) {
    names += fmt::format(" {:<{}}  ", daemon, static_cast<int>(columns.size()) * (kWidth + 1) - 1);
    for (const Column& column : columns) titles += fmt::format(" {:>{}}", column.title, kWidth);
    titles += "  ";
  }
  if (daemons.size() > 1) titles += fmt::format("{:>{}}", daemons.back() + "/" + daemons.front(), kWidth);
  fmt::print("\n{}\n{}\n{}\n", title, names, titles);
  fmt::print("{}", lines);
}

bool draw_plots(const std::vector<Plot>& plots, const nlohmann::json& figures, const std::string& directory) {
  return std::ranges::all_of(plots, [&](const Plot& plot) {
    return draw({.name = plot.name,
                 .settings = fmt::format("set terminal svg noenhanced size 800,500 background 'white'\n"
                                         "set title '{}'\nset ylabel '{}'\n",
                                         plot.title, plot.y_label),
                 .script = plot.x_label == nullptr ? bar_script(plot, figures) : line_script(plot, figures)},
                directory);
  });
}

}  // namespace xenopolis::bench
