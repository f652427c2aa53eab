// Takes the clients of a listening unix socket, a few at a time.
#pragma once

#include <functional>
#include <memory>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"

namespace xenopolis {

class Acceptor {
 public:
  // Gets clients who may be there (accept_client()), non-blocking.
  using OnClient = std::function<void(Fd socket)>;

  static Result<std::unique_ptr<Acceptor>> start(EventLoop& loop, Fd listener, OnClient on_client);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  int fd() const { return listener_.get(); }

  // So many before other descriptors get their turn.
  static constexpr unsigned kClientsPerTurn = 64;

 private:
  Acceptor(EventLoop& loop, Fd listener, OnClient on_client)
      : loop_(loop), listener_(std::move(listener)), on_client_(std::move(on_client)) {}
  void accept_clients();
  void pause();

  EventLoop& loop_;
  Fd listener_;
  OnClient on_client_;
  EventLoop::TimerId resume_timer_ = 0;
};

}  // namespace xenopolis
