// What polis-keeper does: starts polisd, again when it is killed, and serves it (keeper.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace xenopolis::toolstack {

struct KeeperConfig {
  std::string polisd;  // path of the program
  // polisd's, without the descriptor of its line to the keeper, which is appended: "--keeper-fd 3".
  std::vector<std::string> arguments;
  // A polisd that is killed more often than this within 10 s is not started again.
  uint32_t most_kills = 10;
};

// Until polisd has ended by itself, or SIGTERM, SIGINT or SIGHUP has had polisd end. The other processes of the host
// are killed then. What polisd ended with, 1 when it was killed too often.
int keep_host(const KeeperConfig& config);

}  // namespace xenopolis::toolstack
