// polis-consoled's end of polisd's line: requests in, replies out.
#pragma once

#include "base/fd.h"
#include "console/console_protocol.h"
#include "console/server.h"

namespace xenopolis::console {

class Control {
 public:
  // `socket`: SOCK_SEQPACKET.
  Control(Fd socket, Server& server) : socket_(std::move(socket)), server_(server) {}

  int fd() const { return socket_.get(); }

  // Serves requests that have arrived, at most kRequestsPerTurn. False when polisd is gone.
  Result<bool> serve();

 private:
  static constexpr int kRequestsPerTurn = 64;

  ConsoleReply answer(const ConsoleRequest& request);
  Status reply(const ConsoleReply& reply);

  Fd socket_;
  Server& server_;
};

}  // namespace xenopolis::console
