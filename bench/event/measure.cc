#include "measure.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

namespace xenopolis::bench {
namespace {

constexpr uint64_t kLostAfterNs = 5'000'000'000;

}  // namespace

Measurement measurement(std::string_view name) {
  static constexpr std::pair<std::string_view, Measurement> kMeasurements[] = {
      {"send", measure_send},       {"wakeup", measure_wakeup},         {"throughput", measure_throughput},
      {"latency", measure_latency}, {"saturation", measure_saturation}, {"memory", measure_memory},
  };
  for (const auto& [known, function] : kMeasurements) {
    if (known == name) return function;
  }
  return nullptr;
}

Figures measure_memory(Transport& transport, const Setting&) {
  return transport.memory();
}

std::vector<Channel> shuffled_channels(uint32_t channels) {
  std::vector<Channel> all(channels);
  std::iota(all.begin(), all.end(), Channel{1});
  std::shuffle(all.begin(), all.end(), std::mt19937(1));
  return all;
}

void serve_rest(Transport& transport, const Transport::Handler& handler, uint64_t count) {
  uint64_t served = 0;
  for (const uint64_t give_up_at = now_ns() + kLostAfterNs; served < count;) {
    if (transport.wait(0)) served += transport.serve(handler);
    if (now_ns() > give_up_at) give_up("{} events were sent, {} served", count, served);
  }
  if (served != count || transport.wait(0)) {
    // What is left may be a wakeup without an event.
    served += transport.serve(handler);
  }
  if (served != count) give_up("{} events were sent, {} served", count, served);
}

double clock_cost_ns() {
  uint64_t least = ~0ull;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t begin = now_ns();
    least = std::min(least, now_ns() - begin);
  }
  return static_cast<double>(least);
}

}  // namespace xenopolis::bench
