// What one would take instead of domains, measured on the same machine: processes, sandboxed processes, QEMU microvms.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "experiment/sweep_record.h"

namespace xenopolis::experiment {

struct PeerOptions {
  uint32_t count = 1000;       // of each kind, kept alive until the last is up
  uint32_t window = 2;         // started at the same time
  uint64_t reserve_mib = 256;  // host memory to keep free
  bool quiet = false;
};

// Those that are not installed are left out. All that was started has ended when it returns. `stop`: asked often; true
// ends it early, with what there is.
std::vector<PeerRecord> measure_peers(const PeerOptions& options, const std::function<bool()>& stop);

}  // namespace xenopolis::experiment
