#include "common/goals.h"

#include <fmt/format.h>

#include "run.h"

namespace xenopolis::bench {

nlohmann::json goals(const Results& results, const std::vector<uint32_t>& guests) {
  constexpr double kMillion = 1e6;
  constexpr uint32_t kClients = 16;
  Goals all(results);
  const auto ours_over_c = [&](const std::string& name, const std::string& measurement, uint32_t at,
                               const std::string& figure, Bound bound) {
    all.ratio(name, {point_of(measurement, "ours", at), figure}, {point_of(measurement, "c", at), figure}, bound);
  };
  // Ours with many over ours with few.
  const auto growth = [&](const std::string& name, const std::string& measurement, uint32_t many, uint32_t few,
                          const std::string& figure, double most) {
    all.ratio(name, {point_of(measurement, "ours", many), figure}, {point_of(measurement, "ours", few), figure},
              at_most(most));
  };
  for (const std::string operation :
       {"read", "write", "directory", "get_perms", "mkdir_rm", "watch_unwatch", "raw_read"}) {
    ours_over_c(operation + "_time_ours_over_c", "single", kClients, operation + "_ns", at_most(1));
    ours_over_c(operation + "_daemon_cpu_ours_over_c", "single", kClients, operation + "_daemon_cpu_ns", at_most(0.5));
  }
  for (const std::string operation : {"read", "write"}) {
    ours_over_c("pipelined_" + operation + "s_ours_over_c", "pipelined", kClients, operation + "_requests_per_s",
                at_least(2));
  }
  for (const uint32_t count : guests) {
    if (count < 3'000) continue;
    growth(fmt::format("create_with_{}_over_0_guests", count), "create", count, 0, "create_ns", 1.3);
    all.ratio(fmt::format("create_with_{}_guests_c_over_ours", count), {point_of("create", "c", count), "create_ns"},
              {point_of("create", "ours", count), "create_ns"}, at_least(100));
  }
  growth("read_with_5000_over_0_idle_connections", "connections", 5'000, 0, "read_ns", 1.3);
  growth("write_with_30000_over_10_watches", "watches", 30'000, 10, "write_fires_one_ns", 1.3);
  for (const std::string conflict : {"counter", "siblings"}) {
    ours_over_c("conflict_" + conflict + "_commits_ours_over_c", "conflict", kClients, conflict + "_commits_per_s",
                at_least(10));
    all.p99("conflict_" + conflict + "_commit_p99_ms",
            {point_of("conflict", "ours", kClients), conflict + "_commit_ns"}, kMillion, at_most(20));
  }
  all.value("resident_mb_with_3000_guests", {point_of("memory", "ours", 3'000), "resident_bytes"}, kMillion,
            at_most(60));
  return all.take();
}

}  // namespace xenopolis::bench
