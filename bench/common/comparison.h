// Tables and plots of daemons side by side: of figures that have "daemons" ({name, description}) and "points" with
// {measurement, daemon, at}, as Rounds makes them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace xenopolis::bench {

struct Row {
  std::string label;
  std::string figure;  // "read" of read_p50_ns
};

struct Column {
  std::string_view title;
  std::string suffix;  // "_p50_ns" after the row's figure
  double unit;         // figures are divided by this
  int digits;
};

// Environment, rounds, who is compared, and what was left out.
void print_head(const nlohmann::json& figures);
// A line for each row and number, a group of columns for each daemon, and how the first column of the last daemon
// compares with that of the first. Nothing when nothing of it was measured.
void print_table(const nlohmann::json& figures, std::string_view title, std::string_view measurement,
                 const std::vector<Row>& rows, const std::vector<Column>& columns, bool show_number);

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

// False, with a message, when one of them cannot be drawn. What was not measured is left out.
bool draw_plots(const std::vector<Plot>& plots, const nlohmann::json& figures, const std::string& directory);

}  // namespace xenopolis::bench
