// Order statistics of samples.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

namespace xenopolis::experiment {

// The smallest sample that is not below the fraction `p` (0..1) of all samples (nearest rank); 0 without samples.
inline double percentile(std::vector<double> samples, double p) {
  if (samples.empty()) return 0;
  const auto rank = static_cast<size_t>(std::max(1.0, std::ceil(p * static_cast<double>(samples.size()))));
  std::nth_element(samples.begin(), samples.begin() + static_cast<long>(rank - 1), samples.end());
  return samples[rank - 1];
}

inline double mean(std::span<const double> samples) {
  return samples.empty() ? 0
                         : std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
}

// As percentile(), for several fractions at the cost of one sort.
inline std::vector<double> percentiles(std::vector<double> samples, std::span<const double> fractions) {
  std::sort(samples.begin(), samples.end());
  std::vector<double> values;
  for (const double p : fractions) {
    const auto rank = static_cast<size_t>(std::max(1.0, std::ceil(p * static_cast<double>(samples.size()))));
    values.push_back(samples.empty() ? 0 : samples[rank - 1]);
  }
  return values;
}

// Samples in their order, taken together in groups.
struct Group {
  size_t first = 0;  // counted from 1
  size_t last = 0;
  double p10 = 0;
  double p50 = 0;
  double p90 = 0;
};

// Groups whose ends are `ratio` apart, each of one sample at least: even steps on a logarithmic axis.
inline std::vector<Group> logarithmic_groups(std::span<const double> samples, double ratio) {
  std::vector<Group> groups;
  constexpr double kFractions[] = {0.1, 0.5, 0.9};
  for (size_t first = 0; first < samples.size();) {
    const auto wanted = static_cast<size_t>(std::floor(static_cast<double>(first + 1) * ratio));
    const size_t end = std::min(std::max(wanted, first + 1), samples.size());
    const auto values =
        percentiles({samples.begin() + static_cast<long>(first), samples.begin() + static_cast<long>(end)}, kFractions);
    groups.push_back({first + 1, end, values[0], values[1], values[2]});
    first = end;
  }
  return groups;
}

// `count` groups of about the same size, or fewer.
inline std::vector<Group> even_groups(std::span<const double> samples, size_t count) {
  std::vector<Group> groups;
  constexpr double kFractions[] = {0.1, 0.5, 0.9};
  count = std::min(count, samples.size());
  for (size_t index = 0; index < count; ++index) {
    const size_t first = samples.size() * index / count;
    const size_t end = samples.size() * (index + 1) / count;
    const auto values =
        percentiles({samples.begin() + static_cast<long>(first), samples.begin() + static_cast<long>(end)}, kFractions);
    groups.push_back({first + 1, end, values[0], values[1], values[2]});
  }
  return groups;
}

}  // namespace xenopolis::experiment
