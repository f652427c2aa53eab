#include "toolstack/metrics_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <optional>

#include "base/clock.h"
#include "base/unix_socket.h"

namespace xenopolis::toolstack {
namespace {

constexpr size_t kMaxRequest = 8 * 1024;
constexpr std::string_view kUnix = "unix:";

struct TcpAddress {
  sockaddr_storage address{};
  socklen_t size = 0;
};

std::optional<uint16_t> port_of(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

// Of this machine only.
std::optional<TcpAddress> loopback(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  const std::optional<uint16_t> port = port_of(std::string_view(text).substr(colon + 1));
  const std::string host = text.substr(0, colon);
  if (!port) return std::nullopt;
  TcpAddress result;
  if (host == "[::1]") {
    auto& address = reinterpret_cast<sockaddr_in6&>(result.address);
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(*port);
    address.sin6_addr = in6addr_loopback;
    result.size = sizeof address;
    return result;
  }
  auto& address = reinterpret_cast<sockaddr_in&>(result.address);
  address.sin_family = AF_INET;
  address.sin_port = htons(*port);
  result.size = sizeof address;
  const std::string number = host == "localhost" ? "127.0.0.1" : host;
  if (inet_pton(AF_INET, number.c_str(), &address.sin_addr) != 1) return std::nullopt;
  if (ntohl(address.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET) return std::nullopt;
  return result;
}

// One client, with a deadline for all that is exchanged.
class Exchange {
 public:
  explicit Exchange(Fd socket) : socket_(std::move(socket)), end_ns_(clock_.now_ns() + patience_ns()) {}

  // The first line of a request whose head has come to its end.
  std::optional<std::string> request() {
    std::string head;
    while (head.find("\r\n\r\n") == std::string::npos) {
      char buffer[1024];
      if (head.size() > kMaxRequest || !wait(POLLIN)) return std::nullopt;
      const ssize_t got = recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return std::nullopt;
      if (got > 0) head.append(buffer, static_cast<size_t>(got));
    }
    return head.substr(0, head.find("\r\n"));
  }

  void answer(std::string_view status, std::string_view body, bool with_body = true) {
    std::string text = fmt::format(
        "HTTP/1.1 {}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n"
        "Connection: close\r\n\r\n",
        status, body.size());
    if (with_body) text += body;
    // What the text took is not the client's fault.
    end_ns_ = clock_.now_ns() + patience_ns();
    for (size_t sent = 0; sent < text.size() && wait(POLLOUT);) {
      const ssize_t count = send(socket_.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0 && errno != EAGAIN && errno != EINTR) return;
      if (count > 0) sent += static_cast<size_t>(count);
    }
  }

 private:
  static constexpr uint64_t patience_ns() { return MetricsServer::kPatienceMs / 2 * 1'000'000ull; }

  bool wait(short events) {
    const uint64_t now_ns = clock_.now_ns();
    if (now_ns >= end_ns_) return false;
    pollfd waited{socket_.get(), events, 0};
    return poll(&waited, 1, static_cast<int>((end_ns_ - now_ns) / 1'000'000 + 1)) > 0;
  }

  const MonotonicClock clock_;
  const Fd socket_;
  uint64_t end_ns_;
};

}  // namespace

Result<MetricsServer> MetricsServer::listen(const std::string& address) {
  if (address.starts_with(kUnix)) {
    const std::string path = address.substr(kUnix.size());
    return MetricsServer(TRY(listen_unix(path, SOCK_STREAM)), address, path);
  }
  const std::optional<TcpAddress> place = loopback(address);
  if (!place) {
    return fail(EINVAL, fmt::format("{}: metrics are served on unix:PATH, 127.0.0.1:PORT or [::1]:PORT only, because "
                                    "there is no password",
                                    address));
  }
  const auto* socket_address = reinterpret_cast<const sockaddr*>(&place->address);
  Fd listener(socket(place->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return fail_errno("a socket for " + address);
  const int yes = 1;
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener.get(), socket_address, place->size) != 0 || ::listen(listener.get(), 16) != 0) {
    return fail_errno("listening on " + address);
  }
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (getsockname(listener.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) return fail_errno(address);
  const uint16_t port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                                          : reinterpret_cast<sockaddr_in&>(bound).sin_port);
  return MetricsServer(std::move(listener), fmt::format("{}:{}", address.substr(0, address.rfind(':')), port), "");
}

MetricsServer::~MetricsServer() {
  if (listener_ && !path_.empty()) unlink(path_.c_str());
}

void MetricsServer::serve(const std::function<Result<std::string>()>& text) {
  Fd socket = path_.empty() ? Fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK))
                            : accept_client(listener_.get());
  if (!socket) return;
  Exchange exchange(std::move(socket));
  const std::optional<std::string> request = exchange.request();
  if (!request) return;
  const bool is_head = request->starts_with("HEAD ");
  if (!is_head && !request->starts_with("GET ")) {
    return exchange.answer("405 Method Not Allowed", "GET /metrics, please\n");
  }
  const size_t begin = request->find(' ') + 1;
  const std::string path = request->substr(begin, request->find_first_of(" ?", begin) - begin);
  if (path != "/metrics" && path != "/") return exchange.answer("404 Not Found", "there is /metrics only\n", !is_head);
  const Result<std::string> body = text();
  if (!body) return exchange.answer("503 Service Unavailable", body.error().message() + "\n", !is_head);
  exchange.answer("200 OK", *body, !is_head);
}

}  // namespace xenopolis::toolstack
