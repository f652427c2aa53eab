#include "toolstack/unix_socket.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "base/clock.h"

namespace xenopolis::toolstack {
namespace {

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(ENAMETOOLONG, fmt::format("socket path {} (at most {} bytes)", path, sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

}  // namespace

Result<Fd> listen_unix(const std::string& path, int type) {
  const sockaddr_un address = TRY(address_of(path));
  Fd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("socket");
  if (auto other = connect_unix(path, type, 0)) {
    return fail(EADDRINUSE, fmt::format("{}: somebody listens there already", path));
  }
  unlink(path.c_str());
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(socket.get(), 128) != 0) {
    return fail_errno(path);
  }
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

Result<SocketPair> seqpacket_pair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return fail_errno("socketpair");
  return SocketPair{Fd(ends[0]), Fd(ends[1])};
}

Status send_with_fds(int socket, const std::string& message, const std::vector<int>& fds) {
  iovec data{const_cast<char*>(message.data()), message.size()};
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
  if (sendmsg(socket, &header, MSG_NOSIGNAL) != static_cast<ssize_t>(message.size())) return fail_errno("sendmsg");
  return {};
}

}  // namespace xenopolis::toolstack
