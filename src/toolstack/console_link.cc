#include "toolstack/console_link.h"

#include <cstring>

namespace xenopolis::toolstack {

ConsoleLink::ConsoleLink(EventLoop& loop, Fd socket)
    : socket_(loop, std::move(socket), [this](const console::ConsoleReply& reply) { on_reply(reply); }) {}

void ConsoleLink::attach(DomId domid, Gfn console_gfn, Port remote_port, const std::string& name, Done done) {
  console::ConsoleRequest request{};
  request.kind = console::ConsoleRequestKind::kAttach;
  request.domid = domid;
  request.remote_port = remote_port;
  request.console_gfn = console_gfn;
  name.copy(request.name, sizeof request.name - 1);
  attaching_[domid] = std::move(done);
  socket_.send(request);
}

void ConsoleLink::detach(DomId domid, Done done) {
  console::ConsoleRequest request{};
  request.kind = console::ConsoleRequestKind::kDetach;
  request.domid = domid;
  detaching_[domid] = std::move(done);
  socket_.send(request);
}

void ConsoleLink::on_reply(const console::ConsoleReply& reply) {
  auto& waiting = reply.kind == console::ConsoleReplyKind::kDetached ? detaching_ : attaching_;
  const auto found = waiting.find(reply.domid);
  if (found == waiting.end()) return;
  const Done done = std::move(found->second);
  waiting.erase(found);
  if (reply.kind == console::ConsoleReplyKind::kAttachFailed) {
    done(fail(reply.error, "polis-consoled: binding the console's event channel"));
  } else {
    done({});
  }
}

}  // namespace xenopolis::toolstack
