#include "experiment/report_frame.h"

#include <fmt/format.h>

#include <cmath>

namespace xenopolis::experiment {
namespace {

constexpr double kWideWidth = 852;
constexpr double kNarrowWidth = 380;
constexpr double kNarrowRight = 126;

}  // namespace

Chart chart_for(Width width, double height, Axis x, Axis y, double right, double left) {
  const Chart::Margins margins{left, width == Width::kWide ? right : kNarrowRight, 30, 46};
  return chart_for(width, height, margins, std::move(x), std::move(y));
}

Chart chart_for(Width width, double height, Chart::Margins margins, Axis x, Axis y) {
  return {width == Width::kWide ? kWideWidth : kNarrowWidth, height, margins, std::move(x), std::move(y)};
}

Chart::Frame frame_for(Width width, std::string_view id, std::string title, std::string description) {
  Chart::Frame frame;
  frame.id = fmt::format("{}-{}", id, width == Width::kWide ? "w" : "n");
  frame.title = std::move(title);
  frame.description = std::move(description);
  frame.css_class = width == Width::kWide ? "wide" : "narrow";
  return frame;
}

std::string abi_style(std::string_view event_abi) {
  return event_abi == "fifo" ? "fifo" : fmt::format("abi-{}", event_abi);
}

std::vector<std::pair<double, std::string>> time_ticks(double low_ms, double high_ms) {
  // Powers of ten; with fewer than two of them what is between, too.
  const bool steps_too = high_ms / low_ms < 100;
  std::vector<std::pair<double, std::string>> ticks;
  for (int power = -3; power <= 6; ++power) {
    for (const double step : {1.0, 2.0, 5.0}) {
      const double ms = step * std::pow(10, power);
      if (ms < low_ms * 0.999 || ms > high_ms * 1.001 || (step != 1 && !steps_too)) continue;
      ticks.emplace_back(ms, power < 0   ? fmt::format("{:g} µs", ms * 1000)
                             : power < 3 ? fmt::format("{:g} ms", ms)
                                         : fmt::format("{:g} s", ms / 1000));
    }
  }
  return ticks;
}

}  // namespace xenopolis::experiment
