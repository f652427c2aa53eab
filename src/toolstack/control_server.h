// polisd's control socket: JSON lines over a unix stream socket.
//
// A request is one line, an object with "op", optional arguments and an "id" of the client's choice, which the answer
// repeats: {"id":1,"op":"create","name":"a","memory_mib":4,"image":"/x","command_line":"",
// "max_event_channels":1023,"consoles":0} ->
// {"id":1,"ok":true,"domid":3}, or {"id":1,"ok":false,"errno":2,"error":"..."}. Answers may come in another order than
// requests.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"

namespace xenopolis::toolstack {

class ControlServer {
 public:
  using ClientId = uint64_t;
  // A complete, well-formed request. The handler answers by reply() or refuse(), now or later.
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

 private:
  struct Client {
    Fd socket;
    std::string input;
    std::string output;
    bool subscribed = false;
    bool waits_for_write = false;
  };

  ControlServer(EventLoop& loop, std::string path, Fd listener, Handler handler)
      : loop_(loop), path_(std::move(path)), listener_(std::move(listener)), handler_(std::move(handler)) {}
  void accept_clients();
  void receive(ClientId id);
  void send_line(ClientId id, const nlohmann::json& line);
  void flush(ClientId id);
  void drop(ClientId id);
  void handle_line(ClientId id, std::string_view line);

  EventLoop& loop_;
  std::string path_;
  Fd listener_;
  Handler handler_;
  std::unordered_map<ClientId, Client> clients_;
  ClientId next_client_ = 1;
};

}  // namespace xenopolis::toolstack
