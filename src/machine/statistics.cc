#include "machine/statistics.h"

#include "machine/touched.h"

namespace xenopolis::machine {

void for_each_statistics(const Machine& machine, const std::function<void(uint32_t, const Statistics&)>& body) {
  for (const uint32_t number : touched(machine, kStatisticsOffset, kStatisticsStride, kStatisticsCount)) {
    body(number, statistics_of(number));
  }
}

}  // namespace xenopolis::machine
