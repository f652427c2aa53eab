#include "toolstack/control_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "toolstack/unix_socket.h"

namespace xenopolis::toolstack {
namespace {

using nlohmann::json;

std::string to_line(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

// Discarded when it is no JSON, or nested too deeply: objects and arrays in it are left out as they end.
json parse(std::string_view line) {
  bool is_too_deep = false;
  json parsed = json::parse(
      line,
      [&is_too_deep](int depth, json::parse_event_t, const json&) {
        is_too_deep |= depth > ControlServer::kMaxNesting;
        return !is_too_deep;
      },
      /*allow_exceptions=*/false);
  return is_too_deep ? json(json::value_t::discarded) : parsed;
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::listen(EventLoop& loop, const std::string& path,
                                                             Handler handler) {
  Fd listener = TRY(listen_unix(path, SOCK_STREAM));
  std::unique_ptr<ControlServer> server(new ControlServer(loop, path, std::move(handler)));
  server->acceptor_ = TRY(Acceptor::start(loop, std::move(listener),
                                          [self = server.get()](Fd socket) { self->add_client(std::move(socket)); }));
  return server;
}

ControlServer::~ControlServer() {
  *is_there_ = false;
  for (auto& [id, client] : clients_) loop_.remove(client.socket.get());
  unlink(path_.c_str());
}

ControlServer::Client* ControlServer::find(ClientId id) {
  const auto found = clients_.find(id);
  return found == clients_.end() ? nullptr : &found->second;
}

void ControlServer::add_client(Fd socket) {
  if (clients_.size() >= kMaxClients) {
    const std::string refusal =
        to_line({{"ok", false}, {"errno", EUSERS}, {"error", "polisd has as many clients as it takes"}});
    (void)send(socket.get(), refusal.data(), refusal.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return;
  }
  const ClientId id = next_client_++;
  const int fd = socket.get();
  Client& client = clients_[id];
  client.socket = std::move(socket);
  client.interest = EPOLLIN;
  const Status added = loop_.add(fd, EPOLLIN, [this, id](uint32_t events) {
    if ((events & EPOLLOUT) != 0) flush(id);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive(id);
  });
  if (added) return;
  log::warn("adding a client: {}", added.error().message());
  clients_.erase(id);
}

void ControlServer::drop(ClientId id) {
  Client* const client = find(id);
  if (client == nullptr) return;
  loop_.remove(client->socket.get());
  unread_of_all_ -= client->unread();
  clients_.erase(id);
}

void ControlServer::receive(ClientId id) {
  Client* const client = find(id);
  if (client == nullptr) return;
  char buffer[16 * 1024];
  const ssize_t got = recv(client->socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return drop(id);
  client->input.append(buffer, static_cast<size_t>(got));
  if (!client->is_due) take_turn(id);
}

// Handlers may drop the client, so nothing of it is kept across them.
void ControlServer::take_turn(ClientId id) {
  Client* client = find(id);
  if (client == nullptr) return;
  client->is_due = false;
  std::string input = std::exchange(client->input, {});
  size_t begin = 0;
  bool has_more = true;
  for (unsigned handled = 0; handled < kRequestsPerTurn && client->is_heard(); ++handled) {
    const size_t end = input.find('\n', begin);
    has_more = end != std::string::npos;
    if (!has_more) break;
    handle_line(id, std::string_view(input).substr(begin, end - begin));
    begin = end + 1;
    client = find(id);
    if (client == nullptr) return;
  }
  client->input = input.substr(begin);
  if (!has_more && client->input.size() > kMaxLine) return drop(id);
  if (has_more && client->is_heard()) turn_later(id, *client);
  set_interest(id);
}

// After those who have something to say now.
void ControlServer::turn_later(ClientId id, Client& client) {
  if (std::exchange(client.is_due, true)) return;
  loop_.at(MonotonicClock().now_ns() + 1, [this, id, is_there = is_there_] {
    if (*is_there) take_turn(id);
  });
}

void ControlServer::handle_line(ClientId id, std::string_view line) {
  const json request = parse(line);
  ++find(id)->unanswered;
  if (!request.is_object() || !request.contains("op") || !request["op"].is_string()) {
    refuse(id, json::object(),
           Error{EINVAL, "a request is one line with a JSON object that has \"op\", and not nested deeply"});
    return;
  }
  try {
    handler_(id, request);
  } catch (const json::exception& problem) {  // an argument of the wrong type
    // Behind the name of the exception, in brackets.
    const std::string_view what = problem.what();
    const size_t name_end = what.find("] ");
    refuse(id, request, Error{EINVAL, std::string(what.substr(name_end == what.npos ? 0 : name_end + 2))});
  }
}

void ControlServer::send_answer(ClientId id, const json& request, json answer) {
  Client* const client = find(id);
  if (client == nullptr) return;
  if (request.contains("id")) answer["id"] = request["id"];
  if (client->unanswered != 0) --client->unanswered;
  send_line(id, answer);
}

void ControlServer::reply(ClientId client, const json& request, json answer) {
  answer["ok"] = true;
  send_answer(client, request, std::move(answer));
}

void ControlServer::refuse(ClientId client, const json& request, const Error& error) {
  send_answer(client, request, {{"ok", false}, {"errno", error.code}, {"error", error.what}});
}

Status ControlServer::reply_with_fds(ClientId id, const json& request, json answer, const std::vector<int>& fds) {
  Client* const client = find(id);
  if (client == nullptr) return {};
  if (request.contains("id")) answer["id"] = request["id"];
  answer["ok"] = true;
  if (client->unread() != 0) return fail(EAGAIN, "earlier answers are not read yet");
  TRY_VOID(send_with_fds(client->socket.get(), to_line(answer), fds));
  if (client->unanswered != 0) --client->unanswered;
  return {};
}

void ControlServer::subscribe(ClientId id) {
  if (Client* const client = find(id)) client->subscribed = true;
}

void ControlServer::publish(const json& event) {
  std::vector<ClientId> subscribers;
  for (const auto& [id, client] : clients_) {
    if (client.subscribed) subscribers.push_back(id);
  }
  for (const ClientId id : subscribers) send_line(id, event);
}

void ControlServer::send_line(ClientId id, const json& line) {
  Client* const client = find(id);
  if (client == nullptr) return;
  const std::string text = to_line(line);
  if (client->unread() + text.size() > kMaxOutput || unread_of_all_ + text.size() > kMaxOutputOfAll) return drop(id);
  const bool waits = client->unread() != 0;
  client->output += text;
  unread_of_all_ += text.size();
  if (!waits) flush(id);
}

void ControlServer::flush(ClientId id) {
  Client* const client = find(id);
  if (client == nullptr) return;
  while (client->unread() != 0) {
    const ssize_t sent =
        send(client->socket.get(), client->output.data() + client->sent, client->unread(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) break;
    if (sent < 0) return drop(id);
    client->sent += static_cast<size_t>(sent);
    unread_of_all_ -= static_cast<size_t>(sent);
  }
  if (client->sent > client->output.size() / 2) {
    client->output.erase(0, client->sent);
    client->sent = 0;
  }
  if (!client->input.empty() && client->is_heard()) turn_later(id, *client);
  set_interest(id);
}

void ControlServer::set_interest(ClientId id) {
  Client* const client = find(id);
  if (client == nullptr) return;
  const bool reads = client->is_heard() && !client->is_due;
  const uint32_t wanted =
      (reads ? static_cast<uint32_t>(EPOLLIN) : 0u) | (client->unread() != 0 ? static_cast<uint32_t>(EPOLLOUT) : 0u);
  if (wanted == client->interest) return;
  if (loop_.modify(client->socket.get(), wanted)) client->interest = wanted;
}

}  // namespace xenopolis::toolstack
