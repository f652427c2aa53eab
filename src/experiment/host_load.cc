#include "experiment/host_load.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

namespace xenopolis::experiment {
namespace {

struct ProcessTimes {
  std::string program;
  double cpu_s;
};

// proc(5), /proc/PID/stat: pid (comm) state, and utime and stime are fields 14 and 15 in clock ticks. The name may hold
// spaces and parentheses, hence the search for its end from behind.
std::optional<ProcessTimes> read_times(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  const size_t open = line.find('(');
  const size_t close = line.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return std::nullopt;
  std::istringstream fields(line.substr(close + 1));
  constexpr int kFieldsBeforeUtime = 11;  // state to cmajflt
  std::string skipped;
  for (int field = 0; field < kFieldsBeforeUtime; ++field) fields >> skipped;
  double user_ticks = 0;
  double system_ticks = 0;
  fields >> user_ticks >> system_ticks;
  return ProcessTimes{line.substr(open + 1, close - open - 1),
                      (user_ticks + system_ticks) / static_cast<double>(sysconf(_SC_CLK_TCK))};
}

int64_t read_memory_kib(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/smaps_rollup", pid));
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("Pss:", 0) == 0) return std::strtoll(line.c_str() + 4, nullptr, 10);
  }
  return 0;
}

}  // namespace

HostLoad host_load(const std::vector<pid_t>& pids, bool with_memory) {
  HostLoad load;
  for (const pid_t pid : pids) {
    const auto times = read_times(pid);
    if (!times) continue;
    ProgramLoad& program = load[times->program];
    ++program.processes;
    program.cpu_s += times->cpu_s;
    if (with_memory) program.memory_kib += read_memory_kib(pid);
  }
  return load;
}

HostLoad load_between(const HostLoad& before, const HostLoad& after) {
  HostLoad load = after;
  for (auto& [program, used] : load) {
    const auto then = before.find(program);
    if (then != before.end() && used.cpu_s >= then->second.cpu_s) used.cpu_s -= then->second.cpu_s;
  }
  return load;
}

nlohmann::json to_json(const HostLoad& load) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [program, used] : load) {
    json[program] = {{"processes", used.processes}, {"cpu_s", used.cpu_s}, {"memory_kib", used.memory_kib}};
  }
  return json;
}

}  // namespace xenopolis::experiment
