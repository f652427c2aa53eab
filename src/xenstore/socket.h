// The transport of Dom0's programs: a unix stream socket. Whoever can connect is Dom0, as with C xenstored; the file's
// mode (0600) decides who can.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "base/acceptor.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "xenstore/server.h"

namespace xenopolis::xenstore {

class SocketListener {
 public:
  static constexpr size_t kMostClients = 10'000;

  // Binds `path`, replacing a socket file that nobody listens on any more. `server` and `loop` must outlive it.
  // EADDRINUSE when somebody does listen.
  static Result<std::unique_ptr<SocketListener>> open(std::string path, Server& server, EventLoop& loop);

  // After a live update (exec): goes on with the sockets of the program before, as save() wrote them down. EINVAL.
  static Result<std::unique_ptr<SocketListener>> resume(std::string path, std::string_view saved, Server& server,
                                                        EventLoop& loop);
  // For resume() in the program that this process becomes: sockets, watches, what was not handled and not sent. The
  // sockets stay open through exec(2) from now on. Costs all connections.
  std::string save() const;

  SocketListener(const SocketListener&) = delete;
  SocketListener& operator=(const SocketListener&) = delete;
  // Closes all connections and removes the socket file.
  ~SocketListener();

  size_t connection_count() const { return clients_.size(); }

 private:
  class Client;

  SocketListener(std::string path, Server& server, EventLoop& loop);
  Status listen(Fd socket);
  Status add_client(Fd socket);
  Status resume_clients(std::string_view saved);

  std::string path_;
  Server& server_;
  EventLoop& loop_;
  std::unordered_map<int, std::unique_ptr<Client>> clients_;
  std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace xenopolis::xenstore
