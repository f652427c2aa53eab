// The transport of Dom0's programs: a unix stream socket. Whoever can connect is Dom0, as with C xenstored; the file's
// mode (0600) decides who can.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "base/event_loop.h"
#include "base/fd.h"
#include "xenstore/server.h"

namespace xenopolis::xenstore {

class SocketListener {
 public:
  // Binds `path`, replacing a socket file that nobody listens on any more. `server` and `loop` must outlive it.
  // EADDRINUSE when somebody does listen.
  static Result<std::unique_ptr<SocketListener>> open(std::string path, Server& server, EventLoop& loop);

  SocketListener(const SocketListener&) = delete;
  SocketListener& operator=(const SocketListener&) = delete;
  // Closes all connections and removes the socket file.
  ~SocketListener();

  size_t connection_count() const { return clients_.size(); }

 private:
  class Client;

  SocketListener(std::string path, Fd socket, Server& server, EventLoop& loop);
  void accept_clients();
  Status add_client(Fd socket);
  void pause_accepting();

  std::string path_;
  Fd socket_;
  Server& server_;
  EventLoop& loop_;
  EventLoop::TimerId resume_timer_ = 0;
  std::unordered_map<int, std::unique_ptr<Client>> clients_;
};

}  // namespace xenopolis::xenstore
