#include "base/unix_socket.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "base/clock.h"

namespace xenopolis {
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
  // From the first moment on: who may connect is decided by the file's mode.
  const mode_t old_mask = umask(0177);
  const bool bound = bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  const int bind_error = errno;
  umask(old_mask);
  if (!bound) return fail(bind_error, path);
  if (listen(socket.get(), 128) != 0) return fail_errno(path);
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
