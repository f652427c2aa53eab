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
    TRY_VOID(reply(answer(request)));
  }
  return true;
}

ConsoleReply Control::answer(const ConsoleRequest& request) {
  if (request.kind == ConsoleRequestKind::kDetach) {
    server_.detach(request.domid);
    return {ConsoleReplyKind::kDetached, request.domid, 0};
  }
  if (request.kind != ConsoleRequestKind::kAttach) {
    log::error("polisd sent a request of unknown kind {}", static_cast<uint32_t>(request.kind));
    return {ConsoleReplyKind::kAttachFailed, request.domid, EPROTO};
  }
  const std::string name(request.name, strnlen(request.name, sizeof request.name));
  const Status attached = server_.attach(request.domid, request.console_gfn, request.remote_port, name);
  if (attached) return {ConsoleReplyKind::kAttached, request.domid, 0};
  log::error("attaching the console of domain {}: {}", request.domid, attached.error().message());
  return {ConsoleReplyKind::kAttachFailed, request.domid, attached.error().code};
}

// Waits when the socket is full: polisd never waits for us, so it will read.
Status Control::reply(const ConsoleReply& reply) {
  for (;;) {
    if (send(socket_.get(), &reply, sizeof reply, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return {};
    if (errno == EPIPE || errno == ECONNRESET) return {};  // serve() sees the end next
    if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS) return fail_errno("answering polisd");
    pollfd writable{socket_.get(), POLLOUT, 0};
    poll(&writable, 1, 100);
  }
}

}  // namespace xenopolis::console
