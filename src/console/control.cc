#include "console/control.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>

#include "base/log.h"

namespace xenopolis::console {

Result<bool> Control::serve() {
  for (int i = 0; i < kRequestsPerTurn; ++i) {
    ConsoleRequest request;
    const ssize_t size = recv(socket_.get(), &request, sizeof request, MSG_DONTWAIT | MSG_TRUNC);
    if (size == 0) return false;
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (size < 0 && errno == ECONNRESET) return false;
    if (size < 0) return fail_errno("receiving from polisd");
    if (size != sizeof request) {
      return fail(EPROTO, fmt::format("a message of {} bytes from polisd, not {}", size, sizeof request));
    }
    TRY_VOID(handle(request));
  }
  return true;
}

Status Control::handle(const ConsoleRequest& request) {
  const ConsoleId console = request.console;
  switch (request.kind) {
    case ConsoleRequestKind::kAttach: {
      const Status attached = server_.attach(request);
      if (attached) return tell({ConsoleReplyKind::kAttached, console, 0, {}});
      // What a guest says of a further console may be nonsense, as often as it likes: that is not worth a line each.
      const log::Level level = request.is_granted != 0 ? log::Level::kDebug : log::Level::kError;
      log::write(level, "attaching console {} of domain {}: {}",
                 fmt::make_format_args(console.index, console.domid, attached.error().message()));
      return tell({ConsoleReplyKind::kAttachFailed, console, attached.error().code, {}});
    }
    case ConsoleRequestKind::kDetach:
      server_.detach(console);
      return tell({ConsoleReplyKind::kDetached, console, 0, {}});
    case ConsoleRequestKind::kOpenTerminal:
      if (!open_terminal_) return tell({ConsoleReplyKind::kTerminalOpened, console, ENOSYS, {}});
      open_terminal_(console);
      return {};
    case ConsoleRequestKind::kRename:
      server_.rename(request);
      return {};
  }
  return fail(EPROTO, fmt::format("polisd sent a request of unknown kind {}", static_cast<uint32_t>(request.kind)));
}

// Waits when the socket is full: polisd never waits for us, so it will read.
Status Control::tell(const ConsoleReply& reply) {
  for (;;) {
    if (send(socket_.get(), &reply, sizeof reply, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return {};
    if (errno == EPIPE || errno == ECONNRESET) return {};  // serve() sees the end next
    if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS) return fail_errno("answering polisd");
    pollfd writable{socket_.get(), POLLOUT, 0};
    poll(&writable, 1, 100);
  }
}

}  // namespace xenopolis::console
