// Unix sockets with names: listen, connect.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace xenopolis {

// Who may be a client of this process' sockets beside its own user and root: the members of this group (numbers are
// taken, too). Before the first listen_unix(), at most once. ENOENT: there is no such group.
Status admit_group(const std::string& name);
// In the environment it means the same to all daemons of a host.
inline constexpr const char* kGroupVariable = "POLIS_GROUP";

// The directory of sockets: made for this user alone (0700), and for the admitted group to look into (0750). One that
// exists stays as it is, but that the group gets what it needs. EPERM: others may change what is in it.
Status make_socket_directory(const std::string& path);

// The file gets the group and the mode; without an admitted group nothing happens.
Status give_to_admitted_group(const std::string& path, mode_t mode);

// ENAMETOOLONG when no socket can have this path.
Status check_socket_path(const std::string& path);

// `type`: SOCK_STREAM or SOCK_SEQPACKET. Non-blocking, close-on-exec, for this user alone (mode 0600) and the admitted
// group (0660). Replaces a socket file that nobody listens on; EADDRINUSE when somebody does, or a file of another kind
// is there.
Result<Fd> listen_unix(const std::string& path, int type);

// accept4(), non-blocking and close-on-exec, of the next client that may be one by what the kernel says of it
// (SO_PEERCRED): whatever became of the file's mode, and whoever has passed the connection on. Others are disconnected,
// which the log tells. Nothing: errno says why, EAGAIN when nobody waits.
Fd accept_client(int listener);

// The process at the other end, as it was at connect() or listen() (SO_PEERCRED); 0: unknown.
pid_t peer_of(int socket);

// Retries for `patience_ms` while nobody listens yet. The socket is non-blocking.
Result<Fd> connect_unix(const std::string& path, int type, int patience_ms);

}  // namespace xenopolis
