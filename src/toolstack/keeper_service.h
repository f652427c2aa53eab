// What polis-keeper does: starts polisd, again when it is killed, and serves it (keeper.h).
#pragma once

#include <string>
#include <vector>

namespace xenopolis::toolstack {

struct KeeperConfig {
  std::string polisd;  // path of the program
  // polisd's, without the descriptor of its line to the keeper, which is appended: "--keeper-fd 3".
  std::vector<std::string> arguments;
};

// Until polisd has ended by itself, or SIGTERM, SIGINT or SIGHUP has had polisd end. The other processes of the host
// are killed then. What polisd ended with, 1 when it was killed too often.
int keep_host(const KeeperConfig& config);

}  // namespace xenopolis::toolstack
