#include "results.h"

#include <algorithm>
#include <cmath>

namespace xenopolis::bench {
namespace {

// "read_ns", "p50" -> "read_p50_ns": the unit stays last.
std::string with_infix(const std::string& figure, std::string_view infix) {
  for (const std::string_view unit : {"_commits_per_s", "_requests_per_s", "_ns", "_bytes"}) {
    if (figure.ends_with(unit)) {
      return figure.substr(0, figure.size() - unit.size()) + "_" + std::string(infix) + std::string(unit);
    }
  }
  return figure + "_" + std::string(infix);
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

const Results::Series* Results::find(const Point& point, const std::string& figure) const {
  const auto measured = series_.find(point);
  if (measured == series_.end()) return nullptr;
  const auto series = measured->second.find(figure);
  return series == measured->second.end() || series->second.rounds.empty() ? nullptr : &series->second;
}

std::optional<nlohmann::json> Results::ratio(const Point& over, const Point& under, const std::string& figure) const {
  const Series *first = find(over, figure), *second = find(under, figure);
  if (first == nullptr || second == nullptr) return std::nullopt;
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(first->rounds.size(), second->rounds.size()); ++i) {
    ratios.push_back(first->rounds[i] / second->rounds[i]);
  }
  return summary(ratios);
}

std::optional<nlohmann::json> Results::values(const Point& point, const std::string& figure, double unit) const {
  const Series* series = find(point, figure);
  if (series == nullptr) return std::nullopt;
  std::vector<double> values;
  for (const double value : series->rounds) values.push_back(value / unit);
  return summary(values);
}

std::optional<double> Results::percentile_of(const Point& point, const std::string& figure, double p) const {
  const Series* series = find(point, figure);
  if (series == nullptr) return std::nullopt;
  return percentile(series->samples, p);
}

nlohmann::json Results::to_json() const {
  auto points = nlohmann::json::array();
  for (const Point& at : order_) {
    nlohmann::json point = {{"measurement", at.measurement}, {"daemon", at.daemon}, {"at", at.at}};
    for (const auto& [name, series] : series_.at(at)) {
      if (series.rounds.empty()) continue;
      const auto [least, most] = std::ranges::minmax(series.rounds);
      point[with_infix(name, "least")] = least;
      point[with_infix(name, "most")] = most;
      if (!series.sampled) {
        point[name] = percentile(series.rounds, 0.5);
        continue;
      }
      point[with_infix(name, "p50")] = percentile(series.samples, 0.5);
      point[with_infix(name, "p99")] = percentile(series.samples, 0.99);
      point[name.substr(0, name.rfind('_')) + "_samples"] = series.samples.size();
    }
    points.push_back(std::move(point));
  }
  return points;
}

}  // namespace xenopolis::bench
