// What a host's processes have counted, in the text format that Prometheus reads
// (https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "machine/machine.h"

namespace xenopolis::toolstack {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

struct MetricsOptions {
  bool each_domain = true;  // lines for each domain, beside those for the host
  MetricLabels host;        // what does not change while the host is there, for polis_info
};

// Costs a look at what is counted in and, with each_domain, one at each domain's memory; changes nothing.
std::string metrics_text(const machine::Machine& machine, const MetricsOptions& options);

}  // namespace xenopolis::toolstack
