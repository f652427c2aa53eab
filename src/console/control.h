// polis-consoled's end of polisd's line: requests in, replies out.
#pragma once

#include <functional>

#include "base/fd.h"
#include "console/console_protocol.h"
#include "console/server.h"

namespace xenopolis::console {

class Control {
 public:
  // `socket`: SOCK_SEQPACKET.
  Control(Fd socket, Server& server) : socket_(std::move(socket)), server_(server) {}

  int fd() const { return socket_.get(); }

  // Who makes ptys: it answers by tell(), at once or later.
  void on_open_terminal(std::function<void(ConsoleId)> open) { open_terminal_ = std::move(open); }
  Status tell(const ConsoleReply& reply);

  // Serves requests that have arrived, at most kRequestsPerTurn. False when polisd is gone.
  Result<bool> serve();

 private:
  static constexpr int kRequestsPerTurn = 64;

  Status handle(const ConsoleRequest& request);

  Fd socket_;
  Server& server_;
  std::function<void(ConsoleId)> open_terminal_;
};

}  // namespace xenopolis::console
