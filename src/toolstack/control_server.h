// polisd's control socket: JSON lines over a unix stream socket.
//
// A request is one line, an object with "op", optional arguments and an "id" of the client's choice, which the answer
// repeats: {"id":1,"op":"create","name":"a","memory_mib":4,"image":"/x","command_line":"",
// "max_event_channels":1023,"consoles":0} ->
// {"id":1,"ok":true,"domid":3}, or {"id":1,"ok":false,"errno":2,"error":"..."}. Answers may come in another order than
// requests. A refusal without an id, of a client that has asked nothing, is the reason why it is disconnected.
//
// What a client can make this process hold and do has limits: it gets a few requests handled at a time, in turn with
// the others, and is not read from while it does not read its answers, or waits for too many.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/acceptor.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"

namespace xenopolis::toolstack {

class ControlServer {
 public:
  using ClientId = uint64_t;
  // A complete, well-formed request. The handler answers by reply() or refuse(), once, now or later.
  using Handler = std::function<void(ClientId client, const nlohmann::json& request)>;

  static Result<std::unique_ptr<ControlServer>> listen(EventLoop& loop, const std::string& path, Handler handler);
  ~ControlServer();

  // `answer` gets the request's id and "ok": true. A client that is gone is skipped.
  void reply(ClientId client, const nlohmann::json& request, nlohmann::json answer);
  void refuse(ClientId client, const nlohmann::json& request, const Error& error);
  // The same with descriptors beside the line.
  Status reply_with_fds(ClientId client, const nlohmann::json& request, nlohmann::json answer,
                        const std::vector<int>& fds);
  void subscribe(ClientId client);
  // To all subscribers: {"event": ...}.
  void publish(const nlohmann::json& event);

  static constexpr size_t kMaxClients = 1000;
  // A client that sends a longer line is disconnected.
  static constexpr size_t kMaxLine = 64 * 1024;
  // Objects and arrays in each other. What is copied and printed takes stack for each.
  static constexpr int kMaxNesting = 16;
  static constexpr unsigned kRequestsPerTurn = 16;
  // With so much that it has not read a client's requests wait; so they do while so many have no answer yet.
  static constexpr size_t kMaxUnread = 1024 * 1024;
  static constexpr size_t kMaxUnanswered = 4096;
  // What one answer, of a host with as many domains as there can be, and events may add to that; and all clients
  // together. Whose line is more than that is disconnected.
  static constexpr size_t kMaxOutput = 64 * 1024 * 1024;
  static constexpr size_t kMaxOutputOfAll = 256 * 1024 * 1024;

 private:
  struct Client {
    Fd socket;
    std::string input;   // requests that wait
    std::string output;  // from `sent` on still to be sent
    size_t sent = 0;
    size_t unanswered = 0;
    uint32_t interest = 0;
    bool subscribed = false;
    bool is_due = false;  // a turn is coming

    size_t unread() const { return output.size() - sent; }
    bool is_heard() const { return unread() < kMaxUnread && unanswered < kMaxUnanswered; }
  };

  ControlServer(EventLoop& loop, std::string path, Handler handler)
      : loop_(loop), path_(std::move(path)), handler_(std::move(handler)) {}
  void add_client(Fd socket);
  void receive(ClientId id);
  void take_turn(ClientId id);
  void turn_later(ClientId id, Client& client);
  void handle_line(ClientId id, std::string_view line);
  void send_answer(ClientId id, const nlohmann::json& request, nlohmann::json answer);
  void send_line(ClientId id, const nlohmann::json& line);
  void flush(ClientId id);
  void set_interest(ClientId id);
  void drop(ClientId id);
  Client* find(ClientId id);

  EventLoop& loop_;
  std::string path_;
  Handler handler_;
  std::unordered_map<ClientId, Client> clients_;
  ClientId next_client_ = 1;
  size_t unread_of_all_ = 0;
  std::unique_ptr<Acceptor> acceptor_;
  std::shared_ptr<bool> is_there_ = std::make_shared<bool>(true);  // for timers that are still to come
};

}  // namespace xenopolis::toolstack
