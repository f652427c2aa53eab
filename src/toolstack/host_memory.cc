#include "toolstack/host_memory.h"

#include <fstream>
#include <string>

namespace xenopolis::toolstack {

Result<HostMemory> host_memory() {
  std::ifstream meminfo("/proc/meminfo");
  HostMemory memory;
  std::string key;
  std::string unit;
  uint64_t value = 0;
  while (meminfo >> key >> value) {
    std::getline(meminfo, unit);
    if (key == "MemTotal:") memory.total_kib = value;
    if (key == "MemAvailable:") memory.available_kib = value;
  }
  if (memory.total_kib == 0 || memory.available_kib == 0)
    return fail(EIO, "/proc/meminfo has no MemTotal or MemAvailable");
  return memory;
}

}  // namespace xenopolis::toolstack
