// Whether the daemon's own data agree with each other: CONTROL check, and tests.
#pragma once

#include <string>
#include <vector>

namespace xenopolis::xenstore {

class Server;

// What is wrong, a sentence each; empty if nothing is. Walks all nodes, watches and domains, and stops after a number
// of faults.
std::vector<std::string> find_faults(const Server& server);

}  // namespace xenopolis::xenstore
