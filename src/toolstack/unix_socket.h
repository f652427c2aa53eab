// Unix sockets without names, and passing descriptors.
#pragma once

#include <string>
#include <vector>

#include "base/unix_socket.h"

namespace xenopolis::toolstack {

struct SocketPair {
  Fd ours;    // non-blocking
  Fd theirs;  // close-on-exec, too: the child's copy is made at spawn
};
Result<SocketPair> seqpacket_pair();

// One message with descriptors (SCM_RIGHTS) beside it.
Status send_with_fds(int socket, const std::string& message, const std::vector<int>& fds);

}  // namespace xenopolis::toolstack
