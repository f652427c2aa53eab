// Those who look at consoles through RUN/console.sock, see client_protocol.h. Whoever can connect may read and write
// all consoles; the socket's mode (0600) decides who can.
#pragma once

#include <boost/intrusive/list.hpp>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/acceptor.h"
#include "base/event_loop.h"
#include "console/server.h"
#include "console/views.h"

namespace xenopolis::console {

// Nothing here waits for a client, and a client who reads slowly holds no more than Output::kBytes: what he has not
// read stays where it is, in the streams.
class Sessions {
 public:
  static constexpr size_t kMostClients = 1024;
  // Of those that watch all consoles: each costs some 100 bytes for each console.
  static constexpr size_t kMostWatchers = 64;

  // Listens on `path`. `calendar`: nanoseconds since 1970. All must outlive the sessions. EADDRINUSE.
  static Result<std::unique_ptr<Sessions>> open(const std::string& path, Server& server, EventLoop& loop,
                                                const Clock& calendar);
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;
  ~Sessions();

  bool has_work() const { return !ready_.empty(); }
  // A turn for a few of those that are ready, one after another.
  void turn();

  size_t clients() const { return clients_.size(); }

 private:
  class Client;
  // Client derives from this for its place in the list, which it leaves by itself.
  class Ready : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
   public:
    virtual ~Ready() = default;
    // A bounded amount of work. True: there is more to do at once. False: there is not, or it is gone.
    virtual bool take_turn() = 0;
  };

  // Each may take as long as it takes to copy Output::kBytes.
  static constexpr unsigned kClientsPerTurn = 8;

  Sessions(std::string path, Server& server, EventLoop& loop, const Clock& calendar);
  void add_client(Fd socket);
  void push(Ready& client);

  std::string path_;
  Server& server_;
  EventLoop& loop_;
  const Clock& calendar_;
  Writers writers_;
  size_t watchers_ = 0;
  boost::intrusive::list<Ready, boost::intrusive::constant_time_size<false>> ready_;
  std::unordered_map<int, std::unique_ptr<Client>> clients_;  // by descriptor
  std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace xenopolis::console
