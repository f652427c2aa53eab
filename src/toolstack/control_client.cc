#include "toolstack/control_client.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <optional>

#include "toolstack/unix_socket.h"

namespace xenopolis::toolstack {

Result<std::unique_ptr<ControlClient>> ControlClient::connect(EventLoop& loop, const std::string& path,
                                                              int patience_ms) {
  Fd socket = TRY(connect_unix(path, SOCK_STREAM, patience_ms));
  std::unique_ptr<ControlClient> client(new ControlClient(loop, std::move(socket)));
  ControlClient* self = client.get();
  TRY_VOID(loop.add(self->socket_.get(), EPOLLIN, [self](uint32_t events) {
    if ((events & EPOLLOUT) != 0) self->flush();
    if (self->socket_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) self->receive();
  }));
  return client;
}

ControlClient::~ControlClient() {
  if (socket_) loop_.remove(socket_.get());
}

void ControlClient::request(nlohmann::json request, Reply reply) {
  if (!socket_) return reply(tl::make_unexpected(end_));
  const uint64_t id = next_id_++;
  request["id"] = id;
  waiting_.emplace(id, std::move(reply));
  // What is no UTF-8 names nothing that there is, which is polisd's to say.
  output_ += request.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  output_.push_back('\n');
  if (!waits_for_write_) flush();
}

Result<nlohmann::json> ControlClient::ask(nlohmann::json question) {
  std::optional<Result<nlohmann::json>> answer;
  request(std::move(question), [&answer](Result<nlohmann::json> reply) { answer = std::move(reply); });
  while (!answer) TRY_VOID(loop_.run_once(-1));
  return *std::move(answer);
}

Result<machine::Machine> ControlClient::attach_machine() {
  received_fds_.clear();
  TRY(ask({{"op", "attach"}}));
  std::vector<Fd> fds = std::exchange(received_fds_, {});
  if (fds.size() != 1 + machine::kDom0VcpuCount) return fail(EPROTO, "polisd sent no machine");
  Fd memfd = std::move(fds.front());
  fds.erase(fds.begin());
  return machine::Machine::attach(std::move(memfd), std::move(fds));
}

void ControlClient::flush() {
  while (!output_.empty()) {
    const ssize_t sent = send(socket_.get(), output_.data(), output_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno != EAGAIN && errno != EINTR) {
        receive();  // the last thing that polisd has said may be why
        return disconnect();
      }
      if (!waits_for_write_) waits_for_write_ = loop_.modify(socket_.get(), EPOLLIN | EPOLLOUT).has_value();
      return;
    }
    output_.erase(0, static_cast<size_t>(sent));
  }
  if (waits_for_write_) waits_for_write_ = !loop_.modify(socket_.get(), EPOLLIN).has_value();
}

void ControlClient::receive() {
  std::array<char, 64 * 1024> buffer;
  std::array<char, CMSG_SPACE(64 * sizeof(int))> control;
  iovec data{buffer.data(), buffer.size()};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t got = recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return disconnect();
  for (cmsghdr* rights = CMSG_FIRSTHDR(&header); rights != nullptr; rights = CMSG_NXTHDR(&header, rights)) {
    if (rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::vector<int> fds(count);
    std::memcpy(fds.data(), CMSG_DATA(rights), count * sizeof(int));
    for (const int fd : fds) received_fds_.emplace_back(fd);
  }
  input_.append(buffer.data(), static_cast<size_t>(got));
  size_t begin = 0;
  for (size_t end; (end = input_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const nlohmann::json line = nlohmann::json::parse(input_.begin() + static_cast<long>(begin),
                                                      input_.begin() + static_cast<long>(end), nullptr, false);
    if (line.contains("event")) {
      if (on_event_) on_event_(line);
      continue;
    }
    if (line.contains("error") && !line.contains("id")) {
      end_ = Error{line.value("errno", EIO), line.value("error", "polisd gave no reason")};
    }
    const auto found = line.contains("id") ? waiting_.find(line["id"].get<uint64_t>()) : waiting_.end();
    if (found == waiting_.end()) continue;
    const Reply reply = std::move(found->second);
    waiting_.erase(found);
    if (line.value("ok", false)) {
      reply(line);
    } else {
      reply(fail(line.value("errno", EIO), line.value("error", "polisd gave no reason")));
    }
    if (!socket_) return;
  }
  input_.erase(0, begin);
}

void ControlClient::disconnect() {
  if (!socket_) return;
  loop_.remove(socket_.get());
  socket_.reset();
  for (auto lost = std::exchange(waiting_, {}); const auto& [id, reply] : lost) reply(tl::make_unexpected(end_));
  if (on_disconnect_) on_disconnect_();
}

}  // namespace xenopolis::toolstack
