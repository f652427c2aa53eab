// What is measured, of whom, how often, in which order; and how it is shown.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/scenes.h"
#include "daemon.h"

namespace xenopolis::bench {

struct Options {
  std::vector<ConsoleKind> daemons;
  std::vector<std::string> measurements;  // memory, wakeup, throughput, latency, hosted; empty: all
  std::vector<uint32_t> consoles = {10, 1'000, 3'000, 10'000};
  std::vector<uint32_t> domains = {100, 3'026};  // hosted: 3,000 of them are quiet while latency is measured
  RoundsOptions rounds;
  double rest_s = 4;  // nobody says anything for so long before the memory of a daemon at rest is read
  std::string polisd, image;
  std::string directory;  // of all that the daemons write
};

// All figures, as they are written to the JSON file.
nlohmann::json run(const Options& options);

// What the daemon is to be measured by; what was not measured is left out.
nlohmann::json goals(const Results& results, const Options& options);

// The figures for people to read, environment first.
void print_tables(const nlohmann::json& figures);
// False, with a message, when that fails.
bool draw_plots(const nlohmann::json& figures, const std::string& directory);

}  // namespace xenopolis::bench
