#include "toolstack/host_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>

namespace xenopolis::toolstack {
namespace {

// "KEY VALUE" lines; a colon after the key and what follows the value do not matter.
std::optional<uint64_t> value_in(const std::string& path, std::string_view wanted) {
  std::ifstream file(path);
  std::string key;
  uint64_t value = 0;
  for (std::string rest; file >> key >> value; std::getline(file, rest)) {
    if (key == wanted) return value;
  }
  return std::nullopt;
}

// None: "max", or no such file.
std::optional<uint64_t> number_in_file(const std::string& path) {
  std::ifstream file(path);
  uint64_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;
}

// The files of one version of control groups.
struct GroupFiles {
  const char* limit;
  const char* used;
};
constexpr GroupFiles kVersion1{"/memory.limit_in_bytes", "/memory.usage_in_bytes"};
constexpr GroupFiles kVersion2{"/memory.max", "/memory.current"};

void apply_limit(const std::string& group, const GroupFiles& files, HostMemory& memory) {
  const auto limit = number_in_file(group + files.limit);
  const auto used = number_in_file(group + files.used);
  if (!limit || !used || *limit / 1024 >= memory.total_kib) return;
  // Files that are cached, and were not used lately, are given up before anybody is killed.
  // Version 1 has the sum with the groups below under another name.
  const std::string stat = group + "/memory.stat";
  const auto cached = value_in(stat, "total_inactive_file").value_or(value_in(stat, "inactive_file").value_or(0));
  const uint64_t taken = *used - std::min(*used, cached);
  memory.total_kib = *limit / 1024;
  memory.available_kib = std::min(memory.available_kib, (*limit - std::min(*limit, taken)) / 1024);
}

// The group and those above it, as far as they are to be seen from here.
void apply_limits(const std::string& mount, std::string path, const GroupFiles& files, HostMemory& memory) {
  for (;;) {
    apply_limit(mount + (path == "/" ? "" : path), files, memory);
    if (path.empty() || path == "/") return;
    path.resize(path.rfind('/'));
  }
}

}  // namespace

Result<HostMemory> host_memory(const std::string& root) {
  const std::string meminfo = root + "/proc/meminfo";
  HostMemory memory{value_in(meminfo, "MemTotal:").value_or(0), value_in(meminfo, "MemAvailable:").value_or(0)};
  if (memory.total_kib == 0 || memory.available_kib == 0) {
    return fail(EIO, "/proc/meminfo has no MemTotal or MemAvailable");
  }
  // "4:memory:/path", "0::/path".
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") apply_limits(root + "/sys/fs/cgroup", path, kVersion2, memory);
    if (controllers.find(",memory,") != std::string::npos) {
      apply_limits(root + "/sys/fs/cgroup/memory", path, kVersion1, memory);
    }
  }
  return memory;
}

}  // namespace xenopolis::toolstack
