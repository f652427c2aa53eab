// What the workers have reported, and what is made of it.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace xenopolis::bench {

// One repetition's figures: an object in which a number is a value, and an array holds samples of which percentiles are
// taken over all repetitions. The unit is in the name, last.
using Figures = nlohmann::json;

// Where something was measured: an object of whatever tells it from others.
using Point = nlohmann::json;

// The smallest value that is not below the fraction `p` of all (nearest rank). `values` must not be empty.
double percentile(std::vector<double> values, double p);

class Results {
 public:
  struct Side {
    Point point;
    std::string figure;
  };
  // How much to_json() says.
  struct Detail {
    std::vector<std::pair<std::string, double>> percentiles;  // of all samples: {"p99_9", 0.999}
    size_t least_rounds_for_spread = 1;                       // for less there is no least and most of a value
    bool spread_of_samples = true;                            // also of sampled figures; and how many samples
  };

  // One repetition's figures.
  void add(const Point& point, const Figures& figures);

  // How two figures compare, round by round: an object with median, least and most. Nothing when one of them was not
  // measured.
  std::optional<nlohmann::json> ratio(const Side& over, const Side& under) const;
  // The same of a figure alone.
  std::optional<nlohmann::json> values(const Side& side, double unit) const;
  // All samples of it.
  std::optional<double> percentile_of(const Side& side, double p) const;

  // An object per point, with what tells it from others. A figure appears with its median over all; one that was
  // sampled with its percentiles (write_ns: write_p50_ns); and with the least and the greatest of the rounds, of their
  // medians for one that was sampled (write_least_ns, write_most_ns, write_samples).
  nlohmann::json to_json(const Detail& detail) const;

 private:
  struct Series {
    bool sampled = false;
    std::vector<double> samples;
    std::vector<double> rounds;  // one median each
  };
  const Series* find(const Side& side) const;

  std::vector<Point> order_;
  std::map<Point, std::map<std::string, Series>> series_;
};

}  // namespace xenopolis::bench
