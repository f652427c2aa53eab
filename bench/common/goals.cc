#include "common/goals.h"

#include <fmt/format.h>

#include <string_view>

namespace xenopolis::bench {

void Goals::ratio(const std::string& name, const Results::Side& over, const Results::Side& under, Bound bound) {
  add(name, results_.ratio(over, under), bound);
}

void Goals::value(const std::string& name, const Results::Side& side, double unit, Bound bound) {
  add(name, results_.values(side, unit), bound);
}

void Goals::always_at_most(const std::string& name, const Results::Side& side, double unit, double most) {
  add(name, results_.values(side, unit), at_most(most));
  if (!all_.empty() && all_.back().at("name") == name)
    all_.back()["met"] = all_.back().at("most").get<double>() <= most;
}

void Goals::p99(const std::string& name, const Results::Side& side, double unit, Bound bound) {
  const auto p99 = results_.percentile_of(side, 0.99);
  if (p99) add(name, nlohmann::json{{"median", *p99 / unit}}, bound);
}

void Goals::add(const std::string& name, std::optional<nlohmann::json> measured, Bound bound) {
  if (!measured) return;
  const double median = measured->at("median").get<double>();
  (*measured)["name"] = name;
  (*measured)[bound.kind] = bound.value;
  (*measured)["met"] = std::string_view(bound.kind) == "at_most" ? median <= bound.value : median >= bound.value;
  all_.push_back(*std::move(measured));
}

void print_goals(const nlohmann::json& goals) {
  if (goals.empty()) return;
  fmt::print("\nWhat it is to be measured by (ratios of figures of one round: median, least, most)\n");
  for (const auto& goal : goals) {
    const bool is_at_most = goal.contains("at_most");
    std::string spread;
    if (goal.contains("least")) {
      spread = fmt::format("{:.3g} to {:.3g}", goal.at("least").get<double>(), goal.at("most").get<double>());
    }
    fmt::print("{:<44} {:>10.3g}  {:<22} {:<8} {:>5}  {}\n", goal.at("name").get<std::string>(),
               goal.at("median").get<double>(), spread, is_at_most ? "at most" : "at least",
               goal.at(is_at_most ? "at_most" : "at_least").get<double>(), goal.at("met").get<bool>() ? "" : "MISSED");
  }
}

}  // namespace xenopolis::bench
