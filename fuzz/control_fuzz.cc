// A client of polisd's control socket that says anything, in pieces of any size: each line has one answer, which is a
// line of JSON, or the client is disconnected.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/check.h"
#include "base/unix_socket.h"
#include "toolstack/control_server.h"
#include "toolstack/domain_spec.h"

using namespace xenopolis;
using namespace xenopolis::toolstack;
using nlohmann::json;

namespace {

class Host {
 public:
  Host() {
    server_ = ControlServer::listen(loop_, path_, [this](ControlServer::ClientId client, const json& request) {
                handle(client, request);
              }).value();
  }

  void serve(std::string_view bytes, size_t piece_bytes) {
    const Fd client = connect_unix(path_, SOCK_STREAM, 0).value();
    std::ptrdiff_t lines = 0;
    while (!bytes.empty()) {
      const std::string_view piece = bytes.substr(0, piece_bytes);
      if (send(client.get(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) break;
      lines += std::count(piece.begin(), piece.end(), '\n');
      bytes.remove_prefix(piece.size());
      CHECK(loop_.run_once(0));
    }
    std::string answers;
    bool is_over = false;
    for (auto turns = 4 + lines; turns-- > 0 && !is_over;) {
      CHECK(loop_.run_once(0));
      char buffer[16 * 1024];
      for (ssize_t got; (got = recv(client.get(), buffer, sizeof buffer, MSG_DONTWAIT)) >= 0;) {
        is_over = got == 0;
        if (is_over) break;
        answers.append(buffer, static_cast<size_t>(got));
      }
    }
    CHECK(is_over || std::count(answers.begin(), answers.end(), '\n') == lines);
    for (size_t end; (end = answers.find('\n')) != std::string::npos; answers.erase(0, end + 1)) {
      const json answer = json::parse(answers.begin(), answers.begin() + static_cast<long>(end), nullptr, false);
      CHECK(answer.is_object() && answer.contains("ok") && answer["ok"].is_boolean());
    }
    CHECK(answers.empty());
  }

 private:
  // As polisd's operations: what is wrong is refused at once, what is right is answered now or later.
  void handle(ControlServer::ClientId client, const json& request) {
    if (request["op"] == "list") return server_->reply(client, request, {{"domains", json::array()}});
    if (request["op"] == "destroy") {
      const uint64_t domid = request.at("domid");
      return server_->reply(client, request, {{"domid", domid}});
    }
    json members = request;
    members.erase("op");
    members.erase("id");
    const Result<DomainSpec> spec = spec_from_json(members);
    const Status valid = spec ? check(*spec) : Status(tl::make_unexpected(spec.error()));
    if (!valid) return server_->refuse(client, request, valid.error());
    CHECK(spec_from_json(to_json(*spec)).has_value());
    loop_.at(0, [this, client, request] { server_->reply(client, request, json::object()); });
  }

  const std::string path_ = "/tmp/control_fuzz_" + std::to_string(getpid());
  EventLoop loop_ = EventLoop::create().value();
  std::unique_ptr<ControlServer> server_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Host host;
  if (size == 0) return 0;
  host.serve({reinterpret_cast<const char*>(data + 1), size - 1}, 1 + data[0] * 8u);
  return 0;
}
