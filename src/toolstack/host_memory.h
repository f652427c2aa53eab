// What /proc/meminfo says.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace xenopolis::toolstack {

struct HostMemory {
  uint64_t total_kib = 0;
  uint64_t available_kib = 0;  // what can be used without swapping, the kernel's estimate
};

Result<HostMemory> host_memory();

}  // namespace xenopolis::toolstack
