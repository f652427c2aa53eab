// Metrics over HTTP, for who asks for that: Prometheus scrapes them from here. One client at a time.
#pragma once

#include <functional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace xenopolis::toolstack {

class MetricsServer {
 public:
  // "unix:PATH" (for this user alone), "127.0.0.1:9100" or "[::1]:9100" (for every user of this machine). EINVAL:
  // something else: there is no password, hence no network.
  static Result<MetricsServer> listen(const std::string& address);
  MetricsServer(MetricsServer&&) = default;
  ~MetricsServer();

  // As given, or with the port that port 0 became.
  const std::string& address() const { return address_; }
  // Readable when there is a client.
  int fd() const { return listener_.get(); }
  // Answers the next client, if there is one: GET /metrics gets `text`, or 503 with the error. Takes at most
  // kPatienceMs, whatever the client does, beside what `text` takes.
  void serve(const std::function<Result<std::string>()>& text);

  static constexpr int kPatienceMs = 3000;

 private:
  MetricsServer(Fd listener, std::string address, std::string path)
      : listener_(std::move(listener)), address_(std::move(address)), path_(std::move(path)) {}

  Fd listener_;
  std::string address_;
  std::string path_;  // of a unix socket
};

}  // namespace xenopolis::toolstack
