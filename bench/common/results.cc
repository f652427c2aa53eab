#include "common/results.h"

#include <algorithm>
#include <cmath>

namespace xenopolis::bench {
namespace {

// "read_ns", "p50" -> "read_p50_ns": the unit stays last.
std::string with_infix(const std::string& figure, const std::string& infix) {
  for (const std::string_view unit :
       {"_commits_per_s", "_requests_per_s", "_events_per_s", "_bytes_per_s", "_ns", "_bytes", "_ratio"}) {
    if (figure.ends_with(unit)) {
      return figure.substr(0, figure.size() - unit.size()) + "_" + infix + std::string(unit);
    }
  }
  return figure + "_" + infix;
}

nlohmann::json summary(const std::vector<double>& values) {
  const auto [least, most] = std::ranges::minmax(values);
  return {{"median", percentile(values, 0.5)}, {"least", least}, {"most", most}};
}

}  // namespace

double percentile(std::vector<double> values, double p) {
  const auto rank = static_cast<size_t>(std::max(1.0, std::ceil(p * static_cast<double>(values.size()))));
  std::nth_element(values.begin(), values.begin() + static_cast<long>(rank - 1), values.end());
  return values[rank - 1];
}

void Results::add(const Point& point, const Figures& figures) {
  if (std::ranges::find(order_, point) == order_.end()) order_.push_back(point);
  auto& measured = series_[point];
  for (const auto& [name, value] : figures.items()) {
    Series& series = measured[name];
    series.sampled = value.is_array();
    const auto values = value.is_array() ? value.get<std::vector<double>>() : std::vector{value.get<double>()};
    if (values.empty()) continue;
    series.samples.insert(series.samples.end(), values.begin(), values.end());
    series.rounds.push_back(percentile(values, 0.5));
  }
}

const Results::Series* Results::find(const Side& side) const {
  const auto measured = series_.find(side.point);
  if (measured == series_.end()) return nullptr;
  const auto series = measured->second.find(side.figure);
  return series == measured->second.end() || series->second.rounds.empty() ? nullptr : &series->second;
}

std::optional<nlohmann::json> Results::ratio(const Side& over, const Side& under) const {
  const Series *first = find(over), *second = find(under);
  if (first == nullptr || second == nullptr) return std::nullopt;
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(first->rounds.size(), second->rounds.size()); ++i) {
    ratios.push_back(first->rounds[i] / second->rounds[i]);
  }
  return summary(ratios);
}

std::optional<nlohmann::json> Results::values(const Side& side, double unit) const {
  const Series* series = find(side);
  if (series == nullptr) return std::nullopt;
  std::vector<double> values;
  for (const double value : series->rounds) values.push_back(value / unit);
  return summary(values);
}

std::optional<double> Results::percentile_of(const Side& side, double p) const {
  const Series* series = find(side);
  if (series == nullptr) return std::nullopt;
  return percentile(series->samples, p);
}

nlohmann::json Results::to_json(const Detail& detail) const {
  auto points = nlohmann::json::array();
  for (const Point& at : order_) {
    nlohmann::json point = at;
    for (const auto& [name, series] : series_.at(at)) {
      if (series.rounds.empty()) continue;
      if (series.sampled) {
        for (const auto& [infix, p] : detail.percentiles)
          point[with_infix(name, infix)] = percentile(series.samples, p);
        if (detail.spread_of_samples) point[name.substr(0, name.rfind('_')) + "_samples"] = series.samples.size();
      } else {
        point[name] = percentile(series.rounds, 0.5);
      }
      if (series.rounds.size() < detail.least_rounds_for_spread) continue;
      if (series.sampled && !detail.spread_of_samples) continue;
      const auto [least, most] = std::ranges::minmax(series.rounds);
      point[with_infix(name, "least")] = least;
      point[with_infix(name, "most")] = most;
    }
    points.push_back(std::move(point));
  }
  return points;
}

}  // namespace xenopolis::bench
