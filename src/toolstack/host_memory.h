// How much memory there is: what the kernel says, and the limits of the control groups that this process is in.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace xenopolis::toolstack {

struct HostMemory {
  uint64_t total_kib = 0;
  uint64_t available_kib = 0;  // what can be used without swapping, an estimate
};

// `root`: in place of "", for tests. /proc/meminfo, /proc/self/cgroup, and memory.max or memory.limit_in_bytes (version
// 2 or 1) of the group and of those above it.
Result<HostMemory> host_memory(const std::string& root = "");

}  // namespace xenopolis::toolstack
