// The other end of polisd's control socket, see control_server.h.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>

#include "base/event_loop.h"
#include "base/unix_socket.h"
#include "machine/machine.h"

namespace xenopolis::toolstack {

class ControlClient {
 public:
  // The answer object, or the error it carries.
  using Reply = std::function<void(Result<nlohmann::json>)>;

  static Result<std::unique_ptr<ControlClient>> connect(EventLoop& loop, const std::string& path, int patience_ms);
  ~ControlClient();

  void on_event(std::function<void(const nlohmann::json&)> handler) { on_event_ = std::move(handler); }
  // Called once when polisd goes away; requests under way get EPIPE before.
  void on_disconnect(std::function<void()> handler) { on_disconnect_ = std::move(handler); }

  // False: polisd has gone.
  bool is_connected() const { return static_cast<bool>(socket_); }
  // polisd's process; 0: unknown.
  pid_t pid() const { return socket_ ? peer_of(socket_.get()) : 0; }
  // Has been asked and has not answered; this many answers it has given.
  bool is_asked() const { return !waiting_.empty(); }
  uint64_t answers() const { return next_id_ - 1 - waiting_.size(); }
  // `request` has "op" and arguments; the id is added here.
  void request(nlohmann::json request, Reply reply);
  // Sends and runs the loop until the answer is there.
  Result<nlohmann::json> ask(nlohmann::json request);
  // op "attach": maps polisd's machine into this process.
  Result<machine::Machine> attach_machine();

 private:
  ControlClient(EventLoop& loop, Fd socket) : loop_(loop), socket_(std::move(socket)) {}
  void flush();
  void receive();
  void disconnect();

  EventLoop& loop_;
  Fd socket_;
  std::string input_;
  std::string output_;
  bool waits_for_write_ = false;
  std::vector<Fd> received_fds_;
  uint64_t next_id_ = 1;
  std::unordered_map<uint64_t, Reply> waiting_;
  std::function<void(const nlohmann::json&)> on_event_;
  std::function<void()> on_disconnect_;
  Error end_{EPIPE, "polisd is gone"};  // what requests under way are told when the connection ends
};

}  // namespace xenopolis::toolstack
