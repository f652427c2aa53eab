#include "cli/processes.h"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

namespace xenopolis::cli {

// proc(5), /proc/PID/stat: the name stands between the first ( and the last ).
std::optional<ProcessView> process_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  const size_t open = line.find('('), close = line.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return std::nullopt;
  ProcessView process{line.substr(open + 1, close - open - 1), pid, 0, 0};
  std::istringstream rest(line.substr(close + 1));
  rest >> process.state >> process.parent;
  return process;
}

std::vector<ProcessView> all_processes() {
  std::vector<ProcessView> processes;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || end != name.data() + name.size()) continue;
    if (auto process = process_of(pid)) processes.push_back(std::move(*process));
  }
  return processes;
}

nlohmann::json size_of_process(const std::string& name, pid_t pid) {
  nlohmann::json size{{"name", name}, {"pid", pid}};
  const std::string directory = "/proc/" + std::to_string(pid);
  std::ifstream status(directory + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) size["rss_anon_kib"] = std::strtoull(line.c_str() + 8, nullptr, 10);
  }
  std::error_code error;
  size_t descriptors = 0;
  for (auto entry = std::filesystem::directory_iterator(directory + "/fd", error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    ++descriptors;
  }
  if (!error) size["descriptors"] = descriptors;
  return size;
}

}  // namespace xenopolis::cli
