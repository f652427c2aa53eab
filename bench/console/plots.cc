#include "common/comparison.h"
#include "run.h"

namespace xenopolis::bench {
namespace {

const std::vector<Plot>& all_plots() {
  static const std::vector<Plot> plots = {
      {"console-wakeup",
       "A line that one guest writes, until the daemon has taken it",
       "wakeup",
       "consoles",
       "us",
       1e3,
       {{"wakeup_p50_ns", ", the same 10"}, {"wakeup_anywhere_p50_ns", ", any"}}},
      {"console-cpu",
       "CPU time of the daemon for it",
       "wakeup",
       "consoles",
       "us",
       1e3,
       {{"wakeup_daemon_cpu_ns", ", the same 10"}, {"wakeup_anywhere_daemon_cpu_ns", ", any"}}},
      {"console-throughput",
       "Throughput",
       "throughput",
       "consoles",
       "MB/s",
       1e6,
       {{"one_bytes_per_s", ", one"}, {"all_bytes_per_s", ", all"}}},
      {"console-latency",
       "A line from a guest to its reader, 10 others busy",
       "latency",
       "consoles",
       "us",
       1e3,
       {{"latency_p50_ns", ", p50"}, {"latency_p99_ns", ", p99"}}},
      {"console-storm",
       "A line from a guest to its reader, 50 others storming",
       "latency",
       "consoles",
       "us",
       1e3,
       {{"storm_latency_p50_ns", ", p50"}, {"storm_latency_p99_ns", ", p99"}}},
      {"console-memory",
       "Memory of the daemon per console",
       "memory",
       "consoles",
       "bytes",
       1,
       {{"quiet_own_bytes_per_console", ", quiet"}, {"spoken_own_bytes_per_console", ", has written a line"}}},
      {"console-hosted-latency",
       "A line from a hosted guest to its reader, 10 others busy",
       "hosted_latency",
       "domains",
       "us",
       1e3,
       {{"latency_p50_ns", ", p50"}, {"latency_p99_ns", ", p99"}}},
  };
  return plots;
}

}  // namespace

bool draw_plots(const nlohmann::json& figures, const std::string& directory) {
  return draw_plots(all_plots(), figures, directory);
}

}  // namespace xenopolis::bench
