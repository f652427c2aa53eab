// One end of a SOCK_SEQPACKET pair whose messages are structs, on an event loop; never blocks.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <deque>
#include <functional>

#include "base/event_loop.h"
#include "base/fd.h"

namespace xenopolis::toolstack {

template <class Outgoing, class Incoming>
class MessageSocket {
 public:
  using Handler = std::function<void(const Incoming&)>;

  // `on_sent`: called when messages have left for a peer that does not watch its socket.
  MessageSocket(
      EventLoop& loop, Fd socket, Handler handler, std::function<void()> on_sent = [] {})
      : loop_(loop), socket_(std::move(socket)), handler_(std::move(handler)), on_sent_(std::move(on_sent)) {}
  ~MessageSocket() {
    if (socket_) loop_.remove(socket_.get());
  }
  MessageSocket(const MessageSocket&) = delete;
  MessageSocket& operator=(const MessageSocket&) = delete;

  Status start() {
    return loop_.add(socket_.get(), EPOLLIN, [this](uint32_t events) {
      if ((events & EPOLLOUT) != 0) flush();
      if ((events & EPOLLIN) != 0) receive();
      // The peer's end is its process' end, which its pidfd reports.
      if ((events & (EPOLLHUP | EPOLLERR)) != 0 && (events & EPOLLIN) == 0) loop_.remove(socket_.get());
    });
  }

  // True: the peer has it, or will get it as soon as it has read what came before.
  void send(const Outgoing& message) {
    const bool was_empty = queue_.empty();
    queue_.push_back(message);
    if (was_empty) flush();
  }

 private:
  void flush() {
    const size_t before = queue_.size();
    send_queue();
    if (queue_.size() != before) on_sent_();
  }

  void send_queue() {
    while (!queue_.empty()) {
      if (::send(socket_.get(), &queue_.front(), sizeof(Outgoing), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS) {
          if (!waiting_) waiting_ = loop_.modify(socket_.get(), EPOLLIN | EPOLLOUT).has_value();
          return;
        }
        queue_.clear();  // the peer is dead
        return;
      }
      queue_.pop_front();
    }
    if (waiting_) waiting_ = !loop_.modify(socket_.get(), EPOLLIN).has_value();
  }

  void receive() {
    // At most this many before other descriptors get their turn.
    for (int i = 0; i < 64; ++i) {
      Incoming message;
      if (recv(socket_.get(), &message, sizeof message, MSG_DONTWAIT) != static_cast<ssize_t>(sizeof message)) return;
      handler_(message);
    }
  }

  EventLoop& loop_;
  Fd socket_;
  Handler handler_;
  std::function<void()> on_sent_;
  std::deque<Outgoing> queue_;
  bool waiting_ = false;
};

}  // namespace xenopolis::toolstack
