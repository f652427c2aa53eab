// Drawings by gnuplot.
#pragma once

#include <string>

namespace xenopolis::bench {

// gnuplot is there.
bool can_plot();

struct Drawing {
  std::string name;
  std::string settings;  // commands before `script`: of terminal, title, axes
  std::string script;    // data blocks and what is plotted of them; empty: nothing was measured, nothing is drawn
};

// Writes NAME.svg, and the NAME.gp that gnuplot made it from, into `directory`, which is created. False, with a
// message, when that fails.
bool draw(const Drawing& drawing, const std::string& directory);

// The commands that draw a block "$d", of lines "label value value ...", as a group of bars for each line; `bars`: what
// follows "plot ".
std::string bar_chart(const std::string& rows, int degrees, const std::string& bars);

}  // namespace xenopolis::bench
