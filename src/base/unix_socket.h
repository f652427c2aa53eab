// Unix sockets with names: listen, connect.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace xenopolis {

// `type`: SOCK_STREAM or SOCK_SEQPACKET. Non-blocking, close-on-exec, for this user alone (mode 0600). Replaces a
// socket file that nobody listens on; EADDRINUSE when somebody does.
Result<Fd> listen_unix(const std::string& path, int type);

// Retries for `patience_ms` while nobody listens yet. The socket is non-blocking.
Result<Fd> connect_unix(const std::string& path, int type, int patience_ms);

}  // namespace xenopolis
