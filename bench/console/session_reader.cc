#include "session_reader.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>

#include "base/unix_socket.h"
#include "common/basics.h"

namespace xenopolis::bench {

using console::ClientRequest;
using console::Frame;
using console::FrameKind;

SessionReader::SessionReader(const std::string& socket_path, const std::string& domain, bool writes)
    : socket_(value_or_give_up(connect_unix(socket_path, SOCK_STREAM, kPatienceMs))) {
  ClientRequest request;
  request.op = ClientRequest::Op::kAttach;
  request.domain = domain;
  request.past = console::Past::kNone;
  request.write = writes;
  request.force = writes;  // the last one to do so may not have been seen to hang up
  const std::string line = to_line(request);
  require(send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(line.size()),
          "a request can be sent");
  std::string answer;
  for (char c = 0; c != '\n'; answer += c) {
    pollfd readable{socket_.get(), POLLIN, 0};
    require(poll(&readable, 1, kPatienceMs) == 1, "the daemon answers who wants to attach");
    if (recv(socket_.get(), &c, 1, 0) != 1) give_up("attaching to {}: the connection has ended", domain);
  }
  if (answer.find("\"ok\":true") == std::string::npos) give_up("attaching to {}: {}", domain, answer);
  while (!is_live_) receive(kPatienceMs);
}

std::string_view SessionReader::take() {
  text_.clear();
  receive(0);
  return text_;
}

std::string_view SessionReader::wait() {
  text_.clear();
  for (const uint64_t end = now_ns() + uint64_t{kPatienceMs} * 1'000'000; text_.empty();) {
    receive(1000);
    require(now_ns() < end, "what a guest writes arrives");
  }
  return text_;
}

void SessionReader::say(std::string_view input) {
  std::string bytes;
  console::FrameHeader header{};
  header.kind = FrameKind::kInput;
  append_frame(bytes, header, input);
  require(send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()),
          "input can be sent");
}

void SessionReader::say_last(std::string_view input) {
  say(input);
  require(shutdown(socket_.get(), SHUT_WR) == 0, "one side of a connection can end");
  while (!is_input_taken_) receive(kPatienceMs);
}

// Everything that is there after waiting for the first of it; adds to text_.
void SessionReader::receive(int timeout_ms) {
  pollfd readable{socket_.get(), POLLIN, 0};
  if (timeout_ms != 0 && poll(&readable, 1, timeout_ms) != 1) return;
  std::array<char, 1 << 16> buffer;
  const ssize_t size = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  require(size > 0, "the daemon does not end the connection");
  frames_.receive({buffer.data(), static_cast<size_t>(size)});
  while (const auto frame = frames_.next()) {
    switch (frame->header.kind) {
      case FrameKind::kText:
        text_ += frame->payload;
        break;
      case FrameKind::kLive:
        is_live_ = true;
        break;
      case FrameKind::kInputTaken:
        is_input_taken_ = true;
        break;
      case FrameKind::kMissed:
        give_up("a reader has missed {} bytes", frame->header.number);
      case FrameKind::kEnd:
        give_up("a console has ended");
      default:
        break;
    }
  }
}

}  // namespace xenopolis::bench
