// What is measured, of whom, how often, in which order.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

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
  uint32_t rounds = 5;
  double seconds = 0.1;     // that most measurements take, per repetition
  double patience_s = 240;  // a scene that takes longer to be set up is left out
  std::string directory;    // of all that the daemons write
};

// All figures, as they are written to the JSON file.
nlohmann::json run(const Options& options);

}  // namespace xenopolis::bench
