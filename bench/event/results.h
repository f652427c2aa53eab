// What the workers have reported, and what is made of it.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "measure.h"

namespace xenopolis::bench {

// The smallest value that is not below the fraction `p` of all (nearest rank). `values` must not be empty.
double percentile(std::vector<double> values, double p);

class Results {
 public:
  // One repetition's figures.
  void add(std::string_view subject, uint32_t channels, const Figures& figures);

  // The median, over repetitions, of how one figure compares with another of the same repetition. Nothing when one of
  // them was not measured.
  struct Side {
    std::string_view subject;
    uint32_t channels;
    std::string_view figure;
  };
  std::optional<double> ratio(const Side& over, const Side& under) const;

  // An object per subject and number of channels. A figure that was sampled appears as percentiles (send_ns:
  // send_p50_ns, send_p99_ns, send_p99_9_ns), one of a value per repetition with its median, least and greatest.
  nlohmann::json to_json() const;

 private:
  struct Series {
    bool sampled = false;
    std::vector<double> values;   // all samples
    std::vector<double> medians;  // one per repetition
  };
  using Point = std::pair<std::string, uint32_t>;
  std::vector<Point> order_;
  std::map<Point, std::map<std::string, Series, std::less<>>> series_;
};

}  // namespace xenopolis::bench
