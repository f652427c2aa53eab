// What is measured, of whom, how often, in which order.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace xenopolis::bench {

struct Options {
  std::vector<uint32_t> channels = {10, 1'000, 4'000, 10'000, 12'000, 131'000};
  uint32_t rounds = 7;
  double seconds = 0.1;  // that most measurements take, per repetition
  bool quick = false;
  std::vector<std::string> subjects, measurements;  // by name; empty: all
};

// All figures, as they are written to the JSON file.
nlohmann::json run(const Options& options);

// The figures for people to read, environment first.
void print_tables(const nlohmann::json& figures);
// False, with a message, when that fails.
bool draw_plots(const nlohmann::json& figures, const std::string& directory);

}  // namespace xenopolis::bench
