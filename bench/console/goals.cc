#include "common/goals.h"

#include <fmt/format.h>

#include "run.h"

namespace xenopolis::bench {
namespace {

constexpr uint32_t kFew = 10;

Results::Side ours(const std::string& measurement, uint32_t at, const std::string& figure) {
  return {point_of(measurement, "ours", at), figure};
}

Results::Side hosted(const std::string& measurement, uint32_t at, const std::string& figure) {
  return {point_of(measurement, "hosted", at), figure};
}

}  // namespace

nlohmann::json goals(const Results& results, const Options& options) {
  constexpr double kMega = 1e6;
  constexpr uint64_t kGathered = 16 * 1024, kHistory = 64 * 1024 * 1024;
  Goals all(results);
  for (const uint32_t many : options.consoles) {
    if (many < 3'000) continue;
    for (const std::string figure : {"wakeup_daemon_cpu_ns", "wakeup_ns"}) {
      all.ratio(fmt::format("{}_at_{}_over_{}", figure.substr(0, figure.size() - 3), many, kFew),
                ours("wakeup", many, figure), ours("wakeup", kFew, figure), at_most(1.2));
    }
  }
  for (const uint32_t consoles : options.consoles) {
    // More, all pouring, have no room in the history for what gathers before it is written; then it must be marked.
    if (consoles * kGathered <= kHistory) {
      all.always_at_most(fmt::format("lost_bytes_with_{}_consoles", consoles),
                         ours("throughput", consoles, "all_lost_bytes"), 1, 0);
    }
    all.always_at_most(fmt::format("unmarked_lost_bytes_with_{}_consoles", consoles),
                       ours("throughput", consoles, "all_unmarked_lost_bytes"), 1, 0);
    if (consoles < 1'000) continue;
    all.value(fmt::format("own_bytes_per_quiet_console_of_{}", consoles),
              ours("memory", consoles, "quiet_own_bytes_per_console"), 1, at_most(4096));
    all.value(fmt::format("descriptors_per_quiet_console_of_{}", consoles),
              ours("memory", consoles, "descriptors_per_console"), 1, at_most(0));
    all.p99(fmt::format("latency_p99_ms_with_{}_consoles", consoles), ours("latency", consoles, "latency_ns"), kMega,
            at_most(1));
  }
  for (const uint32_t domains : options.domains) {
    all.value(fmt::format("all_mb_per_s_of_{}_hosted", domains),
              hosted("hosted_throughput", domains, "all_bytes_per_s"), kMega, at_least(300));
    all.always_at_most(fmt::format("lost_bytes_of_{}_hosted", domains),
                       hosted("hosted_throughput", domains, "all_lost_bytes"), 1, 0);
    all.p99(fmt::format("latency_p99_ms_of_{}_hosted", domains), hosted("hosted_latency", domains, "latency_ns"), kMega,
            at_most(1));
  }
  return all.take();
}

}  // namespace xenopolis::bench
