// The figures as drawings.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace xenopolis::bench {

// gnuplot is there.
bool can_plot();
// Writes NAME.svg, and the data NAME.gp that gnuplot made it from, into `directory`, which is created. False, with a
// message, when that fails. `figures`: what run() returns.
bool draw_plots(const nlohmann::json& figures, const std::string& directory);

}  // namespace xenopolis::bench
