// Experiments of several sizes and event channel ABIs, one after the other, and the report of them all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "experiment/options.h"

namespace xenopolis::experiment {

struct SweepOptions {
  Options each;  // but for domains and event_abi; `output` gets results.json and report.html
  std::vector<uint32_t> domains;
  std::vector<std::string> event_abis;
  uint32_t peers = 1000;  // of each kind that is installed; 0: none
  std::string version;    // of Xenopolis
  std::string command;    // that repeats it
};

struct SweepOutcome {
  bool good = true;  // every run was
  bool interrupted = false;
  std::string report;  // its path
};

// An ABI that met its wall is not tried with more domains. After each run results.json and report.html hold what there
// is, so that an interruption leaves a report. An error means that a run could not start or that nothing could be
// written.
Result<SweepOutcome> run_sweep(const SweepOptions& options);

}  // namespace xenopolis::experiment
