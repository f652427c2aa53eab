#include "base/acceptor.h"

#include <sys/epoll.h>

#include <cstring>

#include "base/clock.h"
#include "base/log.h"
#include "base/unix_socket.h"

namespace xenopolis {
namespace {

constexpr uint64_t kPauseNs = 100'000'000;

}  // namespace

Result<std::unique_ptr<Acceptor>> Acceptor::start(EventLoop& loop, Fd listener, OnClient on_client) {
  std::unique_ptr<Acceptor> acceptor(new Acceptor(loop, std::move(listener), std::move(on_client)));
  TRY_VOID(loop.add(acceptor->fd(), EPOLLIN, [self = acceptor.get()](uint32_t) { self->accept_clients(); }));
  return acceptor;
}

Acceptor::~Acceptor() {
  if (resume_timer_ != 0) loop_.cancel(resume_timer_);
  loop_.remove(fd());
}

void Acceptor::accept_clients() {
  for (unsigned i = 0; i < kClientsPerTurn; ++i) {
    Fd socket = accept_client(fd());
    if (socket) {
      on_client_(std::move(socket));
      continue;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
    log::warn("accepting a client: {}", std::strerror(errno));
    return pause();
  }
}

// Out of descriptors: without a pause the loop would wake for the waiting client again and again.
void Acceptor::pause() {
  if (!loop_.modify(fd(), 0)) return;
  resume_timer_ = loop_.at(MonotonicClock().now_ns() + kPauseNs, [this] {
    resume_timer_ = 0;
    if (!loop_.modify(fd(), EPOLLIN)) log::error("a socket takes no clients any more");
  });
}

}  // namespace xenopolis
