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

}  // namespace xenopolis::experiment
