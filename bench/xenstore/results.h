// What the workers have reported, and what is made of it.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scene.h"

namespace xenopolis::bench {

// The smallest value that is not below the fraction `p` of all (nearest rank). `values` must not be empty.
double percentile(std::vector<double> values, double p);

// What of which daemon in which scene.
struct Point {
  std::string measurement, daemon;
  uint32_t at;
  auto operator<=>(const Point&) const = default;
};

class Results {
 public:
  // One repetition's figures.
  void add(const Point& point, const Figures& figures);

  // How one figure compares with another of the same round: an object with median, least and most. Nothing when one of
  // them was not measured.
  std::optional<nlohmann::json> ratio(const Point& over, const Point& under, const std::string& figure) const;
  // The same of a figure alone.
  std::optional<nlohmann::json> values(const Point& point, const std::string& figure, double unit) const;
  // All samples of it.
  std::optional<double> percentile_of(const Point& point, const std::string& figure, double p) const;

  // An object per point. A figure appears with its median over all, and with the least and the greatest of the rounds
  // (of their medians, for one that was sampled: write_ns becomes write_p50_ns, write_p99_ns, write_least_ns,
  // write_most_ns and write_samples).
  nlohmann::json to_json() const;

 private:
  struct Series {
    bool sampled = false;
    std::vector<double> samples;
    std::vector<double> rounds;  // one median each
  };
  const Series* find(const Point& point, const std::string& figure) const;

  std::vector<Point> order_;
  std::map<Point, std::map<std::string, Series>> series_;
};

}  // namespace xenopolis::bench
