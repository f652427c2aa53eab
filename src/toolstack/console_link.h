// polisd's line to polis-consoled.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "console/console_protocol.h"
#include "toolstack/message_socket.h"

namespace xenopolis::toolstack {

class ConsoleLink {
 public:
  using Done = std::function<void(Status)>;

  ConsoleLink(EventLoop& loop, Fd socket);
  Status start() { return socket_.start(); }

  void attach(DomId domid, Gfn console_gfn, Port remote_port, const std::string& name, Done done);
  void detach(DomId domid, Done done);

 private:
  void on_reply(const console::ConsoleReply& reply);

  MessageSocket<console::ConsoleRequest, console::ConsoleReply> socket_;
  std::unordered_map<DomId, Done> attaching_;
  std::unordered_map<DomId, Done> detaching_;
};

}  // namespace xenopolis::toolstack
