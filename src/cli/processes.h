// The processes of a host, as /proc has them.
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace xenopolis::cli {

struct ProcessView {
  std::string name;  // at most 15 characters (TASK_COMM_LEN)
  pid_t pid = 0;
  pid_t parent = 0;
  char state = 0;  // as in proc(5): 'Z' is dead, 'T' and 't' are stopped
};

// Nothing: there is none, or nobody may look.
std::optional<ProcessView> process_of(pid_t pid);
// All that there are.
std::vector<ProcessView> all_processes();

// {"name", "pid", "rss_anon_kib": its own memory, not the machine's, "descriptors"}; without the last where nobody may
// look.
nlohmann::json size_of_process(const std::string& name, pid_t pid);

}  // namespace xenopolis::cli
