#include "base/unix_socket.h"

#include <fmt/format.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/clock.h"
#include "base/log.h"

namespace xenopolis {
namespace {

constexpr int kBacklog = 1024;  // the kernel's own limit is this, or higher

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(ENAMETOOLONG, fmt::format("the path of a socket has at most {} bytes, and {} has {}",
                                          sizeof address.sun_path - 1, path, path.size()));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

// Constant after admit_group(), which comes before all else.
std::optional<gid_t> admitted_group;

// Its effective group at connect(), or one of the others that it has.
bool is_of_group(int socket, gid_t effective, gid_t wanted) {
  if (effective == wanted) return true;
  gid_t groups[256];
  socklen_t size = sizeof groups;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &size) != 0) return false;
  return std::find(groups, groups + size / sizeof groups[0], wanted) != groups + size / sizeof groups[0];
}

std::optional<ucred> credentials_of_peer(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  return peer;
}

bool may_be_client(int socket) {
  const std::optional<ucred> known = credentials_of_peer(socket);
  if (!known) return false;
  const ucred& peer = *known;
  if (peer.uid == 0 || peer.uid == geteuid()) return true;
  if (admitted_group && is_of_group(socket, peer.gid, *admitted_group)) return true;
  log::warn("a connection of process {} of user {} is refused: it is neither user {} nor root{}", peer.pid, peer.uid,
            geteuid(), admitted_group ? fmt::format(" nor of group {}", *admitted_group) : "");
  return false;
}

}  // namespace

pid_t peer_of(int socket) {
  const std::optional<ucred> peer = credentials_of_peer(socket);
  return peer ? peer->pid : 0;
}

Status admit_group(const std::string& name) {
  gid_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error == std::errc() && end == name.data() + name.size()) {
    admitted_group = number;
    return {};
  }
  const group* entry = getgrnam(name.c_str());
  if (entry == nullptr) return fail(ENOENT, fmt::format("group \"{}\"", name));
  admitted_group = entry->gr_gid;
  return {};
}

Status give_to_admitted_group(const std::string& path, mode_t mode) {
  if (!admitted_group) return {};
  if (chown(path.c_str(), static_cast<uid_t>(-1), *admitted_group) != 0 || chmod(path.c_str(), mode) != 0) {
    return fail_errno(fmt::format("giving {} to group {}", path, *admitted_group));
  }
  return {};
}

Status make_socket_directory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(path);
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return fail_errno(path);
  // Who owns a directory, or may write to it, may put sockets of his own in the place of ours.
  const mode_t others = S_IWOTH | (status.st_gid == getegid() ? 0 : S_IWGRP);
  const bool is_ours = status.st_uid == geteuid() || status.st_uid == 0;
  if (!is_ours || ((status.st_mode & others) != 0 && (status.st_mode & S_ISVTX) == 0)) {
    return fail(EPERM, fmt::format("{} is no place for sockets, because others may change what is in it: it is user "
                                   "{}'s, mode {:o}",
                                   path, status.st_uid, status.st_mode & 07777));
  }
  return give_to_admitted_group(path, (status.st_mode & 07755) | 0050);
}

Fd accept_client(int listener) {
  for (;;) {
    Fd socket(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    // Bounded by the listener's queue, which the kernel fills while this runs, at the cost of whoever connects.
    if (!socket || may_be_client(socket.get())) return socket;
  }
}

Status check_socket_path(const std::string& path) {
  TRY(address_of(path));
  return {};
}

Result<Fd> listen_unix(const std::string& path, int type) {
  const sockaddr_un address = TRY(address_of(path));
  Fd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("socket");
  if (auto other = connect_unix(path, type, 0)) {
    return fail(EADDRINUSE, fmt::format("{}: somebody listens there already", path));
  }
  // What a server that has ended has left. A file of another kind is somebody's: bind() says EADDRINUSE.
  struct stat status {};
  if (lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) unlink(path.c_str());
  // From the first moment on: who may connect is decided by the file's mode.
  const mode_t old_mask = umask(0177);
  const bool bound = bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  const int bind_error = errno;
  umask(old_mask);
  if (!bound) return fail(bind_error, path);
  TRY_VOID(give_to_admitted_group(path, 0660));
  if (listen(socket.get(), kBacklog) != 0) return fail_errno(path);
  return socket;
}

Result<Fd> connect_unix(const std::string& path, int type, int patience_ms) {
  const sockaddr_un address = TRY(address_of(path));
  const uint64_t give_up_ns = MonotonicClock().now_ns() + static_cast<uint64_t>(patience_ms) * 1'000'000;
  for (;;) {
    Fd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return fail_errno("socket");
    if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return socket;
    const bool not_yet = errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN;
    if (!not_yet || MonotonicClock().now_ns() >= give_up_ns) return fail_errno(fmt::format("connecting to {}", path));
    usleep(1000);
  }
}

}  // namespace xenopolis
