// What the diagrams of a report have in common: two widths, frames, styles, and how their axes show time.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "experiment/chart.h"

namespace xenopolis::experiment {

// Wide for pages and paper, narrow for telephones; both in the page, and style sheets choose.
enum class Width { kWide, kNarrow };

// `right`: room for the labels there, on a wide one.
Chart chart_for(Width width, double height, Axis x, Axis y, double right = 150, double left = 56);
Chart chart_for(Width width, double height, Chart::Margins margins, Axis x, Axis y);
Chart::Frame frame_for(Width width, std::string_view id, std::string title, std::string description);

// The class of what is drawn of the runs of an ABI.
std::string abi_style(std::string_view event_abi);

// Lines at powers of ten, with units that people use.
std::vector<std::pair<double, std::string>> time_ticks(double low_ms, double high_ms);

}  // namespace xenopolis::experiment
