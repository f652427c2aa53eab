// Unix sockets: listen, connect, pass descriptors.
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace xenopolis::toolstack {

// `type`: SOCK_STREAM or SOCK_SEQPACKET. Non-blocking, close-on-exec. Replaces a socket file that nobody listens on.
Result<Fd> listen_unix(const std::string& path, int type);

// Retries for `patience_ms` while nobody listens yet. The socket is non-blocking.
Result<Fd> connect_unix(const std::string& path, int type, int patience_ms);

struct SocketPair {
  Fd ours;    // non-blocking
  Fd theirs;  // close-on-exec, too: the child's copy is made at spawn
};
Result<SocketPair> seqpacket_pair();

// One message with descriptors (SCM_RIGHTS) beside it.
Status send_with_fds(int socket, const std::string& message, const std::vector<int>& fds);

}  // namespace xenopolis::toolstack
