#include "results.h"

#include <algorithm>
#include <cmath>

namespace xenopolis::bench {
namespace {

// "send_ns", "p50" -> "send_p50_ns": the unit stays last.
std::string with_infix(const std::string& figure, std::string_view infix) {
  const size_t unit =
      figure.find("_events_per_s") != std::string::npos ? figure.rfind("_events_per_s") : figure.rfind('_');
  return figure.substr(0, unit) + "_" + std::string(infix) + figure.substr(unit);
}

}  // namespace

double percentile(std::vector<double> values, double p) {
  const auto rank = static_cast<size_t>(std::max(1.0, std::ceil(p * static_cast<double>(values.size()))));
  std::nth_element(values.begin(), values.begin() + static_cast<long>(rank - 1), values.end());
  return values[rank - 1];
}

void Results::add(std::string_view subject, uint32_t channels, const Figures& figures) {
  const Point point(subject, channels);
  if (std::ranges::find(order_, point) == order_.end()) order_.push_back(point);
  auto& measured = series_[point];
  for (const auto& [name, value] : figures.items()) {
    Series& series = measured[name];
    series.sampled = value.is_array();
    const auto values = value.is_array() ? value.get<std::vector<double>>() : std::vector{value.get<double>()};
    if (values.empty()) continue;
    series.values.insert(series.values.end(), values.begin(), values.end());
    series.medians.push_back(percentile(values, 0.5));
  }
}

std::optional<double> Results::ratio(const Side& over, const Side& under) const {
  const auto medians = [this](const Side& side) -> const std::vector<double>* {
    const auto point = series_.find(Point(side.subject, side.channels));
    if (point == series_.end()) return nullptr;
    const auto series = point->second.find(side.figure);
    return series == point->second.end() ? nullptr : &series->second.medians;
  };
  const auto *first = medians(over), *second = medians(under);
  if (first == nullptr || second == nullptr) return std::nullopt;
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(first->size(), second->size()); ++i) ratios.push_back((*first)[i] / (*second)[i]);
  if (ratios.empty()) return std::nullopt;
  return percentile(ratios, 0.5);
}

nlohmann::json Results::to_json() const {
  auto points = nlohmann::json::array();
  for (const Point& at : order_) {
    nlohmann::json point = {{"subject", at.first}, {"channels", at.second}};
    for (const auto& [name, series] : series_.at(at)) {
      if (series.values.empty()) continue;
      if (series.sampled) {
        point[with_infix(name, "p50")] = percentile(series.values, 0.5);
        point[with_infix(name, "p99")] = percentile(series.values, 0.99);
        point[with_infix(name, "p99_9")] = percentile(series.values, 0.999);
        continue;
      }
      point[name] = percentile(series.values, 0.5);
      if (series.values.size() == 1) continue;
      point[with_infix(name, "least")] = *std::ranges::min_element(series.values);
      point[with_infix(name, "most")] = *std::ranges::max_element(series.values);
    }
    points.push_back(std::move(point));
  }
  return points;
}

}  // namespace xenopolis::bench
