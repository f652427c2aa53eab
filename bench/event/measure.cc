#include "measure.h"

#include <utility>

namespace xenopolis::bench {

Measurement measurement(std::string_view name) {
  static constexpr std::pair<std::string_view, Measurement> kMeasurements[] = {
      {"throughput", measure_throughput},
  };
  for (const auto& [known, function] : kMeasurements) {
    if (known == name) return function;
  }
  return nullptr;
}

}  // namespace xenopolis::bench
