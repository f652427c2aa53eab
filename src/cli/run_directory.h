// Where a host has its sockets and logs.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace xenopolis::cli {

inline constexpr const char* kUsualHost = "default";

// $XDG_RUNTIME_DIR/xenopolis, else /run/user/UID/xenopolis, of root /run/xenopolis: the directories of the hosts.
std::string hosts_directory();

// hosts_directory()/NAME. EINVAL: no such name can be: 1 to 63 of [A-Za-z0-9._-], no dot in front.
Result<std::string> directory_of_host(const std::string& name);

// Of the host that is meant when nothing is said on the command line: $POLIS_RUN_DIR, else the host $POLIS_HOST, else
// the host "default".
Result<std::string> usual_run_directory();

// An error, with what to do about it, when no polisd listens in that directory.
Status find_host(const std::string& run_directory);

// Of who has lost the line to polisd or to a daemon `lost_ns` ago: there will be no other, for the host has ended.
bool is_host_over(const std::string& run_directory, uint64_t lost_ns);

}  // namespace xenopolis::cli
