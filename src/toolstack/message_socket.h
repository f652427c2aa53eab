// One end of a SOCK_SEQPACKET pair whose messages are structs, on an event loop; never blocks.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"

namespace xenopolis::toolstack {

// Descriptors that several messages may carry; closed when the last one has left.
using SharedFds = std::vector<std::shared_ptr<const Fd>>;

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

  // The peer has it, or will get it as soon as it has read what came before. `fds` go with it (SCM_RIGHTS).
  void send(const Outgoing& message, SharedFds fds = {}) {
    const bool was_empty = queue_.empty();
    queue_.push_back({message, std::move(fds)});
    if (was_empty) flush();
  }

  // All that a peer has left which has ended.
  void receive_rest() {
    while (receive()) {
    }
  }

 private:
  static constexpr size_t kMaxFds = 4;
  struct Message {
    Outgoing content;
    SharedFds fds;
  };

  void flush() {
    const size_t before = queue_.size();
    send_queue();
    if (queue_.size() != before) on_sent_();
  }

  void send_queue() {
    while (!queue_.empty()) {
      if (!send_one(queue_.front())) {
        // ETOOMANYREFS: too many descriptors are under way between processes of this user.
        if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ETOOMANYREFS) {
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

  bool send_one(const Message& message) {
    iovec data{const_cast<Outgoing*>(&message.content), sizeof(Outgoing)};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
    if (const size_t count = std::min(message.fds.size(), kMaxFds); count != 0) {
      header.msg_control = control;
      header.msg_controllen = CMSG_SPACE(count * sizeof(int));
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(count * sizeof(int));
      for (size_t i = 0; i < count; ++i) {
        const int fd = message.fds[i]->get();
        std::memcpy(CMSG_DATA(rights) + i * sizeof fd, &fd, sizeof fd);
      }
    }
    return sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
  }

  // False: there is nothing more at present. At most so many at once, so that other descriptors get their turn.
  bool receive() {
    for (int i = 0; i < 64; ++i) {
      Incoming message;
      // MSG_TRUNC: the size that it had. Of another size it is no message of ours.
      const ssize_t size = recv(socket_.get(), &message, sizeof message, MSG_DONTWAIT | MSG_TRUNC);
      if (size <= 0) return false;
      if (size == static_cast<ssize_t>(sizeof message)) handler_(message);
    }
    return true;
  }

  EventLoop& loop_;
  Fd socket_;
  Handler handler_;
  std::function<void()> on_sent_;
  std::deque<Message> queue_;
  bool waiting_ = false;
};

}  // namespace xenopolis::toolstack
