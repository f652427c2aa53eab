// Starting and stopping hosts.
#pragma once

#include <string>
#include <vector>

#include "cli/host_client.h"

namespace xenopolis::cli {

struct HostStart {
  std::string run_directory;
  std::vector<std::string> arguments;  // polisd's, without --run-dir
};

// Whether a polisd answers there.
bool is_running(const std::string& run_directory);

// Makes the directory, for this user alone, and starts polisd in the background; its messages go to polisd.log there.
// Returns when the host is ready. An error has the last lines of the log.
Status start_host(const HostStart& start);

// The same in this process, which becomes the host: returns only when that fails.
Error become_host(const HostStart& start);

// Ends the host with all its domains, and waits until nothing is left of it. ETIMEDOUT after a minute.
Status stop_host(HostClient& client);

// Directories below hosts_directory() in which a host runs, sorted.
std::vector<std::string> running_hosts();

}  // namespace xenopolis::cli
