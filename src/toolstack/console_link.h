// polisd's line to polis-consoled. That one may die: its successor is told all consoles again, and goes on with them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "console/console_protocol.h"
#include "toolstack/message_socket.h"
#include "toolstack/silence.h"

namespace xenopolis::toolstack {

class ConsoleLink {
 public:
  using Done = std::function<void(Status)>;
  // The path of the console's terminal; empty: it has none any more.
  using TerminalHandler = std::function<void(console::ConsoleId, const std::string& path)>;

  explicit ConsoleLink(EventLoop& loop) : loop_(loop) {}
  // The line to a daemon that has just been started. What its predecessor has not answered is asked once more.
  Status connect(Fd socket);

  void on_terminal(TerminalHandler handler) { on_terminal_ = std::move(handler); }

  // `request.kind` is set here. EEXIST: it is attached, or still being detached.
  void attach(const console::ConsoleRequest& request, Done done);
  // Calls back when the daemon does not touch the domain's memory any more: at once for a console that it does not
  // have.
  void detach(console::ConsoleId id, Done done) { detach(id, false, std::move(done)); }
  // The same for the last time; and when who has its terminal open has read what the guest wrote, or has had the time
  // to.
  void end(console::ConsoleId id, Done done) { detach(id, true, std::move(done)); }
  void rename(console::ConsoleId id, const std::string& name);
  // The daemon may have it, from a polisd that was killed: for end().
  void assume(console::ConsoleId id);
  // Answered by on_terminal(), unless it is open and that has been told. Does nothing for a console that is not
  // attached.
  void open_terminal(console::ConsoleId id);
  // What has been asked of the daemon that there is, but for terminals.
  const Dialogue& dialogue() const { return dialogue_; }

 private:
  struct Console {
    console::ConsoleRequest attach;
    bool is_assumed = false;  // whoever attached it was another
    Done attached;            // while that is under way
    bool detaching = false;
    bool ending = false;
    std::vector<Done> detached;
    bool wants_terminal = false;
    std::optional<std::string> terminal = "";  // its path, as told; none: what was told is not true any more
  };

  void detach(console::ConsoleId id, bool for_ever, Done done);
  void terminal_closed_at_the_end(uint32_t key);
  static uint32_t key_of(console::ConsoleId id) { return uint32_t{id.domid} << 16 | id.index; }
  void send(console::ConsoleRequestKind kind, console::ConsoleId id);
  void send(const console::ConsoleRequest& request);
  void on_reply(const console::ConsoleReply& reply);
  void tell_terminal(Console& console, const std::string& path);
  void on_attach_failed(Console& console, const console::ConsoleReply& reply);

  EventLoop& loop_;
  std::unique_ptr<MessageSocket<console::ConsoleRequest, console::ConsoleReply>> socket_;
  std::unordered_map<uint32_t, Console> consoles_;
  std::unordered_map<uint32_t, std::vector<Done>> being_read_;  // detached; their terminals are open
  TerminalHandler on_terminal_;
  Dialogue dialogue_;
};

}  // namespace xenopolis::toolstack
