// How soon a reader has what a guest writes.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon.h"

namespace xenopolis::bench {

// Consoles with a reader, which write now and then: the first ones. Behind them those that write a line each
// kBusyEveryNs, and then those that write whenever there is room.
inline constexpr uint32_t kProbed = 16, kBusy = 10, kStorming = 50;
inline constexpr uint64_t kBusyEveryNs = 10'000'000;

struct ProbeSetting {
  uint32_t consoles;
  uint32_t storming;  // 0 or kStorming
  double seconds;
};
// From before the guest's write until the reader has the line, ns; one at a time.
std::vector<uint64_t> probe_latency(ConsoleDaemon& daemon, const ProbeSetting& setting);

}  // namespace xenopolis::bench
