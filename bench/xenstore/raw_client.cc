#include "raw_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <array>
#include <cstring>

#include "common/basics.h"

namespace xenopolis::bench {
namespace {

// Requests on the way in a pipeline: less than the sockets' buffers hold, so that no one blocks for ever.
constexpr size_t kInFlight = 128, kBatch = 32;

Fd connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  require(path.size() < sizeof address.sun_path, "the socket's path is short enough");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd socket_fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket_fd) give_up("no socket can be had: {}", std::strerror(errno));
  const timeval patience{kPatienceMs / 1000, 0};
  setsockopt(socket_fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (connect(socket_fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) socket_fd.reset();
  return socket_fd;
}

}  // namespace

std::string message(uint32_t type, std::string_view payload, uint32_t transaction) {
  const xsd_sockmsg header{type, 0, transaction, static_cast<uint32_t>(payload.size())};
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes += payload;
  return bytes;
}

void MessageStream::append(std::string_view bytes) {
  bytes_.erase(0, taken_);
  taken_ = 0;
  bytes_ += bytes;
}

bool MessageStream::next(Message& message) {
  const std::string_view rest = std::string_view(bytes_).substr(taken_);
  if (rest.size() < sizeof message.header) return false;
  std::memcpy(&message.header, rest.data(), sizeof message.header);
  const size_t size = sizeof message.header + message.header.len;
  if (rest.size() < size) return false;
  message.payload = rest.substr(sizeof message.header, message.header.len);
  taken_ += size;
  return true;
}

RawClient::RawClient(const std::string& socket_path) : socket_(connect_to(socket_path)) {
  if (!socket_) give_up("connecting to {}: {}", socket_path, std::strerror(errno));
}

bool RawClient::can_connect(const std::string& socket_path) {
  return static_cast<bool>(connect_to(socket_path));
}

pid_t RawClient::peer_pid() const {
  ucred peer{};
  socklen_t size = sizeof peer;
  require(getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0, "the socket knows its peer");
  return peer.pid;
}

std::string RawClient::ask(uint32_t type, std::string_view payload, uint32_t transaction) {
  send(message(type, payload, transaction));
  for (;;) {
    Message reply = receive();
    if (reply.header.type == type) return std::move(reply.payload);
    if (reply.header.type == XS_ERROR) give_up("request {} ({}): {}", type, payload, reply.payload);
  }
}

void RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) give_up("the daemon does not take requests: {}", std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

Message RawClient::receive() {
  Message next;
  std::array<char, 16 * 1024> buffer;
  while (!stream_.next(next)) {
    const ssize_t count = recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (count <= 0) give_up("the daemon does not answer: {}", count == 0 ? "it hung up" : std::strerror(errno));
    stream_.append(std::string_view(buffer.data(), static_cast<size_t>(count)));
  }
  return next;
}

void RawClient::receive_replies(size_t count) {
  while (count != 0) {
    const Message reply = receive();
    if (reply.header.type == XS_WATCH_EVENT) continue;
    if (reply.header.type == XS_ERROR) give_up("a request was refused: {}", reply.payload);
    --count;
  }
}

void RawClient::pipeline(std::span<const std::string> messages) {
  size_t in_flight = 0;
  while (!messages.empty()) {
    const auto batch = messages.first(std::min(kBatch, messages.size()));
    messages = messages.subspan(batch.size());
    std::string bytes;
    for (const std::string& one : batch) bytes += one;
    send(bytes);
    in_flight += batch.size();
    if (in_flight < kInFlight) continue;
    receive_replies(kBatch);
    in_flight -= kBatch;
  }
  receive_replies(in_flight);
}

}  // namespace xenopolis::bench
