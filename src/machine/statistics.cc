#include "machine/statistics.h"

#include "machine/machine.h"

namespace xenopolis::machine {

void for_each_statistics(const Machine& machine, const std::function<void(uint32_t, const Statistics&)>& body) {
  machine.for_each_used(kStatisticsOffset, kStatisticsCount * kStatisticsStride, [&](uint64_t begin, uint64_t end) {
    const auto first = static_cast<uint32_t>((begin - kStatisticsOffset) / kStatisticsStride);
    const auto after = static_cast<uint32_t>((end - kStatisticsOffset) / kStatisticsStride);
    for (uint32_t number = first; number < after; ++number) body(number, statistics_of(number));
  });
}

}  // namespace xenopolis::machine
