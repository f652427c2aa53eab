#include "toolstack/control_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include "toolstack/unix_socket.h"

namespace xenopolis::toolstack {
namespace {

// A client that sends a longer line, or does not read this much of answers, is disconnected.
constexpr size_t kMaxLine = 64 * 1024;
constexpr size_t kMaxOutput = 64 * 1024 * 1024;

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::listen(EventLoop& loop, const std::string& path,
                                                             Handler handler) {
  Fd listener = TRY(listen_unix(path, SOCK_STREAM));
  std::unique_ptr<ControlServer> server(new ControlServer(loop, path, std::move(listener), std::move(handler)));
  ControlServer* self = server.get();
  TRY_VOID(loop.add(self->listener_.get(), EPOLLIN, [self](uint32_t) { self->accept_clients(); }));
  return server;
}

ControlServer::~ControlServer() {
  for (auto& [id, client] : clients_) loop_.remove(client.socket.get());
  loop_.remove(listener_.get());
  unlink(path_.c_str());
}

void ControlServer::accept_clients() {
  for (;;) {
    Fd socket = accept_client(listener_.get());
    if (!socket) return;
    const ClientId id = next_client_++;
    const int fd = socket.get();
    clients_[id].socket = std::move(socket);
    if (!loop_.add(fd, EPOLLIN, [this, id](uint32_t events) {
          if ((events & EPOLLOUT) != 0) flush(id);
          if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive(id);
        })) {
      clients_.erase(id);
    }
  }
}

void ControlServer::drop(ClientId id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  loop_.remove(found->second.socket.get());
  clients_.erase(found);
}

void ControlServer::receive(ClientId id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  char buffer[16 * 1024];
  const ssize_t got = recv(found->second.socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return drop(id);
  found->second.input.append(buffer, static_cast<size_t>(got));
  // Handlers may drop the client, so nothing is kept across them.
  std::string input = std::exchange(found->second.input, {});
  size_t begin = 0;
  for (size_t end; (end = input.find('\n', begin)) != std::string::npos; begin = end + 1) {
    handle_line(id, std::string_view(input).substr(begin, end - begin));
  }
  const auto still = clients_.find(id);
  if (still == clients_.end()) return;
  still->second.input = input.substr(begin);
  if (still->second.input.size() > kMaxLine) drop(id);
}

void ControlServer::handle_line(ClientId id, std::string_view line) {
  const nlohmann::json request = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!request.is_object() || !request.contains("op") || !request["op"].is_string()) {
    refuse(id, nlohmann::json::object(), Error{EINVAL, "a request is one line with a JSON object that has \"op\""});
    return;
  }
  try {
    handler_(id, request);
  } catch (const nlohmann::json::exception& problem) {  // an argument of the wrong type
    refuse(id, request, Error{EINVAL, problem.what()});
  }
}

void ControlServer::reply(ClientId client, const nlohmann::json& request, nlohmann::json answer) {
  if (request.contains("id")) answer["id"] = request["id"];
  answer["ok"] = true;
  send_line(client, answer);
}

void ControlServer::refuse(ClientId client, const nlohmann::json& request, const Error& error) {
  nlohmann::json answer{{"ok", false}, {"errno", error.code}, {"error", error.what}};
  if (request.contains("id")) answer["id"] = request["id"];
  send_line(client, answer);
}

Status ControlServer::reply_with_fds(ClientId client, const nlohmann::json& request, nlohmann::json answer,
                                     const std::vector<int>& fds) {
  const auto found = clients_.find(client);
  if (found == clients_.end()) return {};
  if (request.contains("id")) answer["id"] = request["id"];
  answer["ok"] = true;
  if (!found->second.output.empty()) return fail(EAGAIN, "earlier answers are not read yet");
  return send_with_fds(found->second.socket.get(), answer.dump() + "\n", fds);
}

void ControlServer::subscribe(ClientId client) {
  const auto found = clients_.find(client);
  if (found != clients_.end()) found->second.subscribed = true;
}

void ControlServer::publish(const nlohmann::json& event) {
  std::vector<ClientId> subscribers;
  for (const auto& [id, client] : clients_) {
    if (client.subscribed) subscribers.push_back(id);
  }
  for (const ClientId id : subscribers) send_line(id, event);
}

void ControlServer::send_line(ClientId id, const nlohmann::json& line) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  found->second.output += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  found->second.output.push_back('\n');
  if (found->second.output.size() > kMaxOutput) return drop(id);
  if (!found->second.waits_for_write) flush(id);
}

void ControlServer::flush(ClientId id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  Client& client = found->second;
  while (!client.output.empty()) {
    const ssize_t sent =
        send(client.socket.get(), client.output.data(), client.output.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno != EAGAIN && errno != EINTR) return drop(id);
      if (!client.waits_for_write) {
        client.waits_for_write = loop_.modify(client.socket.get(), EPOLLIN | EPOLLOUT).has_value();
      }
      return;
    }
    client.output.erase(0, static_cast<size_t>(sent));
  }
  if (client.waits_for_write) client.waits_for_write = !loop_.modify(client.socket.get(), EPOLLIN).has_value();
}

}  // namespace xenopolis::toolstack
