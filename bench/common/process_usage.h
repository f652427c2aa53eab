// What a process uses, as the kernel tells it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace xenopolis::bench {

// CPU time of all its threads since it began.
uint64_t cpu_ns_of(pid_t pid);

struct Memory {
  uint64_t resident_bytes = 0;    // all of it
  uint64_t anonymous_bytes = 0;   // of that, neither files nor shared memory
  uint64_t machine_bytes = 0;     // of that, what guests and hypervisor share with it
  uint64_t page_table_bytes = 0;  // beside that (status: VmPTE)
};
// `machine_file`: what guests and hypervisor share with it, as /proc/PID/smaps names it; may be empty.
Memory memory_of(pid_t pid, const std::string& machine_file);

uint64_t descriptors_of(pid_t pid);

}  // namespace xenopolis::bench
