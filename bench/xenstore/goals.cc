#include "goals.h"

#include <fmt/format.h>

namespace xenopolis::bench {
namespace {

class Goals {
 public:
  explicit Goals(const Results& results) : results_(results) {}

  // Ours over the C daemon's, or the other way round.
  void ours_over_c(const std::string& name, const std::string& measurement, uint32_t at, const std::string& figure,
                   const char* bound, double value) {
    add(name, results_.ratio({measurement, "ours", at}, {measurement, "c", at}, figure), bound, value);
  }
  void c_over_ours(const std::string& name, const std::string& measurement, uint32_t at, const std::string& figure,
                   const char* bound, double value) {
    add(name, results_.ratio({measurement, "c", at}, {measurement, "ours", at}, figure), bound, value);
  }
  // Ours with many over ours with few.
  void growth(const std::string& name, const std::string& measurement, uint32_t many, uint32_t few,
              const std::string& figure, double at_most) {
    add(name, results_.ratio({measurement, "ours", many}, {measurement, "ours", few}, figure), "at_most", at_most);
  }
  void value(const std::string& name, const Point& point, const std::string& figure, double unit, double at_most) {
    add(name, results_.values(point, figure, unit), "at_most", at_most);
  }
  void p99(const std::string& name, const Point& point, const std::string& figure, double unit, double at_most) {
    const auto p99 = results_.percentile_of(point, figure, 0.99);
    if (p99) add(name, nlohmann::json{{"median", *p99 / unit}}, "at_most", at_most);
  }

  nlohmann::json take() { return std::move(all_); }

 private:
  void add(const std::string& name, std::optional<nlohmann::json> measured, const char* bound, double value) {
    if (!measured) return;
    const double median = measured->at("median").get<double>();
    (*measured)["name"] = name;
    (*measured)[bound] = value;
    (*measured)["met"] = std::string_view(bound) == "at_most" ? median <= value : median >= value;
    all_.push_back(*std::move(measured));
  }

  const Results& results_;
  nlohmann::json all_ = nlohmann::json::array();
};

}  // namespace

nlohmann::json goals(const Results& results, const std::vector<uint32_t>& guests) {
  constexpr double kMillion = 1e6;
  constexpr uint32_t kClients = 16;
  Goals all(results);
  for (const std::string operation :
       {"read", "write", "directory", "get_perms", "mkdir_rm", "watch_unwatch", "raw_read"}) {
    all.ours_over_c(operation + "_time_ours_over_c", "single", kClients, operation + "_ns", "at_most", 1);
    all.ours_over_c(operation + "_daemon_cpu_ours_over_c", "single", kClients, operation + "_daemon_cpu_ns", "at_most",
                    0.5);
  }
  for (const std::string operation : {"read", "write"}) {
    all.ours_over_c("pipelined_" + operation + "s_ours_over_c", "pipelined", kClients, operation + "_requests_per_s",
                    "at_least", 2);
  }
  for (const uint32_t count : guests) {
    if (count < 3'000) continue;
    all.growth(fmt::format("create_with_{}_over_0_guests", count), "create", count, 0, "create_ns", 1.3);
    all.c_over_ours(fmt::format("create_with_{}_guests_c_over_ours", count), "create", count, "create_ns", "at_least",
                    100);
  }
  all.growth("read_with_5000_over_0_idle_connections", "connections", 5'000, 0, "read_ns", 1.3);
  all.growth("write_with_30000_over_10_watches", "watches", 30'000, 10, "write_fires_one_ns", 1.3);
  for (const std::string conflict : {"counter", "siblings"}) {
    all.ours_over_c("conflict_" + conflict + "_commits_ours_over_c", "conflict", kClients, conflict + "_commits_per_s",
                    "at_least", 10);
    all.p99("conflict_" + conflict + "_commit_p99_ms", {"conflict", "ours", kClients}, conflict + "_commit_ns",
            kMillion, 20);
  }
  all.value("resident_mb_with_3000_guests", {"memory", "ours", 3'000}, "resident_bytes", kMillion, 60);
  return all.take();
}

}  // namespace xenopolis::bench
