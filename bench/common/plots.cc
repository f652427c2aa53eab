#include "common/plots.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/basics.h"

namespace xenopolis::bench {

bool can_plot() {
  return std::system("gnuplot --version >/dev/null 2>&1") == 0;
}

bool draw(const Drawing& drawing, const std::string& directory) {
  if (drawing.script.empty()) return true;
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  const std::string path = std::filesystem::path(directory) / drawing.name;
  std::ofstream file(path + ".gp");
  file << fmt::format("{}set output '{}.svg'\nset grid\nset key outside right top\n{}", drawing.settings, path,
                      drawing.script);
  file.close();
  if (file && std::system(fmt::format("gnuplot '{}.gp'", path).c_str()) == 0) return true;
  complain("{}.svg could not be drawn", path);
  return false;
}

std::string bar_chart(const std::string& rows, int degrees, const std::string& bars) {
  return fmt::format(
      "$d << EOD\n{}EOD\nset style data histogram\nset style histogram clustered gap 1\n"
      "set style fill solid 0.8\nset xtics rotate by {} right\nset boxwidth 0.9\nplot {}\n",
      rows, degrees, bars);
}

}  // namespace xenopolis::bench
