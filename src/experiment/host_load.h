// What the processes of a host have used so far: CPU time and memory, by program.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace xenopolis::experiment {

struct ProgramLoad {
  uint32_t processes = 0;
  double cpu_s = 0;
  int64_t memory_kib = 0;  // proportional set size: what is shared counts in parts
};

// By the program's name ("polis-xenstored").
using HostLoad = std::map<std::string, ProgramLoad>;

// Of those among `pids` that live. Memory is read only where `with_memory`: the kernel walks page tables for it.
HostLoad host_load(const std::vector<pid_t>& pids, bool with_memory);
// CPU time between the two; processes and memory of `after`. A program that was started again in between counts from
// then on.
HostLoad load_between(const HostLoad& before, const HostLoad& after);
nlohmann::json to_json(const HostLoad& load);

}  // namespace xenopolis::experiment
