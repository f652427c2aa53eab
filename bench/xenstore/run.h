// What is measured, of whom, how often, in which order.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/scenes.h"
#include "daemon.h"

namespace xenopolis::bench {

struct Options {
  std::vector<Kind> daemons;
  std::vector<std::string> measurements;  // by the names of scenes; empty: all
  std::vector<uint32_t> clients = {16};
  std::vector<uint32_t> children = {3'000};
  std::vector<uint32_t> watches = {10, 1'000, 10'000, 30'000};
  std::vector<uint32_t> connections = {0, 1'000, 5'000};
  std::vector<uint32_t> guests = {0, 10, 300, 1'000, 3'000, 10'000};
  RoundsOptions rounds;
  std::string directory;  // of all that the daemons write
};

// All figures, as they are written to the JSON file.
nlohmann::json run(const Options& options);

// What the daemon is to be measured by; what was not measured is left out.
nlohmann::json goals(const Results& results, const std::vector<uint32_t>& guests);

// The figures for people to read, environment first.
void print_tables(const nlohmann::json& figures);
// False, with a message, when that fails.
bool draw_plots(const nlohmann::json& figures, const std::string& directory);

}  // namespace xenopolis::bench
