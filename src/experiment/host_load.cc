#include "experiment/host_load.h"

#include <fmt/format.h>
#include <time.h>

#include <cstdlib>
#include <fstream>

namespace xenopolis::experiment {
namespace {

std::string program_of(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/comm", pid));
  std::string name;
  std::getline(file, name);
  return name;
}

// Finer than the clock ticks of /proc/PID/stat.
double cpu_s_of(pid_t pid) {
  clockid_t clock = 0;
  timespec time{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
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
    const std::string name = program_of(pid);
    if (name.empty()) continue;
    ProgramLoad& program = load[name];
    ++program.processes;
    program.cpu_s += cpu_s_of(pid);
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
