// polis metrics: what a host has counted, for Prometheus.
#pragma once

#include <string>

#include "base/result.h"

namespace xenopolis::cli {

struct MetricsCommandOptions {
  std::string run_directory;
  std::string listen;  // address; empty: print once
  bool each_domain = true;
  bool json = false;
};

// The exit status.
Result<int> run_metrics(const MetricsCommandOptions& options);

}  // namespace xenopolis::cli
