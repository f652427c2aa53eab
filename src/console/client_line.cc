#include "console/client_line.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/clock.h"
#include "base/unix_socket.h"

namespace xenopolis::console {
namespace {

constexpr size_t kMostOutput = 64 * 1024;
constexpr int kAnswerPatienceMs = 10'000;

bool is_temporary(int error) {
  return error == EAGAIN || error == EINTR;
}

}  // namespace

Result<std::unique_ptr<ClientLine>> ClientLine::open(const std::string& path, const ClientRequest& request,
                                                     int patience_ms) {
  const MonotonicClock clock;
  const uint64_t give_up_ns = clock.now_ns() + static_cast<uint64_t>(patience_ms) * 1'000'000;
  for (;;) {
    Result<Fd> socket = connect_unix(path, SOCK_STREAM, patience_ms);
    // ENOENT is the daemon's word for a console that there is not.
    if (!socket && socket.error().code == ENOENT) {
      return fail(ECONNREFUSED, fmt::format("{} is not there: nobody reaches polis-consoled", path));
    }
    if (!socket) return tl::make_unexpected(socket.error());
    std::unique_ptr<ClientLine> line(new ClientLine(*std::move(socket)));
    line->output_ = to_line(request);
    const Status answered = line->send() ? line->wait_for_answer() : fail(ECONNREFUSED, "polis-consoled has hung up");
    if (answered) return line;
    // A daemon that is being killed closes connections before it closes the socket that takes new ones.
    if (answered.error().code != ECONNREFUSED || clock.now_ns() >= give_up_ns) {
      return tl::make_unexpected(answered.error());
    }
  }
}

Status ClientLine::wait_for_answer() {
  std::string text;
  for (;;) {
    pollfd readable{socket_.get(), POLLIN, 0};
    if (poll(&readable, 1, kAnswerPatienceMs) == 0) return fail(ETIMEDOUT, "polis-consoled does not answer");
    std::array<char, 16 * 1024> bytes;
    const ssize_t count = recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (count < 0 && is_temporary(errno)) continue;
    if (count <= 0) return fail(ECONNREFUSED, "polis-consoled has hung up");
    text.append(bytes.data(), static_cast<size_t>(count));
    const size_t end = text.find('\n');
    if (end == std::string::npos) continue;
    answer_ = nlohmann::json::parse(text.begin(), text.begin() + static_cast<long>(end), nullptr, false);
    if (!answer_.is_object()) return fail(EPROTO, "what polis-consoled answers");
    if (!answer_.value("ok", false)) return fail(answer_.value("errno", EIO), answer_.value("error", "no reason"));
    reader_.receive(std::string_view(text).substr(end + 1));
    return {};
  }
}

bool ClientLine::receive() {
  std::array<char, 64 * 1024> bytes;
  const ssize_t count = recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (count < 0 && is_temporary(errno)) return true;
  if (count <= 0) return false;
  reader_.receive(std::string_view(bytes.data(), static_cast<size_t>(count)));
  return !reader_.is_broken();
}

size_t ClientLine::type(std::string_view text) {
  size_t taken = 0;
  while (taken < text.size() && output_.size() < kMostOutput) {
    const std::string_view part = text.substr(taken, kMaxPayload);
    FrameHeader header{};
    header.kind = FrameKind::kInput;
    append_frame(output_, header, part);
    taken += part.size();
  }
  return taken;
}

bool ClientLine::send() {
  while (!output_.empty()) {
    const ssize_t count = ::send(socket_.get(), output_.data(), output_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EAGAIN;
    output_.erase(0, static_cast<size_t>(count));
  }
  if (std::exchange(ends_input_, false)) shutdown(socket_.get(), SHUT_WR);
  return true;
}

}  // namespace xenopolis::console
