#include "common/process_usage.h"

#include <filesystem>
#include <fstream>

#include "common/basics.h"

namespace xenopolis::bench {

uint64_t cpu_ns_of(pid_t pid) {
  clockid_t clock{};
  timespec used{};
  require(clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &used) == 0, "the daemon is still there");
  return static_cast<uint64_t>(used.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(used.tv_nsec);
}

Memory memory_of(pid_t pid, const std::string& machine_file) {
  Memory memory;
  std::ifstream file(fmt::format("/proc/{}/smaps", pid));
  bool is_machine = false;
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    const auto bytes = [&] { return std::strtoull(line.c_str() + colon + 1, nullptr, 10) * 1024; };
    if (line.starts_with("Rss:")) {
      memory.resident_bytes += bytes();
      if (is_machine) memory.machine_bytes += bytes();
    } else if (line.starts_with("Anonymous:")) {
      memory.anonymous_bytes += bytes();
    } else if (line.find('-') < line.find(' ')) {  // "7d00...-7e00... rw-s ...": the next mapping
      is_machine = !machine_file.empty() && line.find(machine_file) != std::string::npos;
    }
  }
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmPTE:")) memory.page_table_bytes = std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
  }
  require(memory.resident_bytes != 0, "the daemon's memory is known");
  return memory;
}

uint64_t descriptors_of(pid_t pid) {
  const std::filesystem::directory_iterator all(fmt::format("/proc/{}/fd", pid));
  return static_cast<uint64_t>(std::distance(begin(all), end(all)));
}

}  // namespace xenopolis::bench
