#include "toolstack/console_link.h"

#include <cstring>
#include <utility>

#include "base/log.h"

namespace xenopolis::toolstack {

using console::ConsoleReply;
using console::ConsoleReplyKind;
using console::ConsoleRequest;
using console::ConsoleRequestKind;

Status ConsoleLink::connect(Fd socket) {
  socket_ = std::make_unique<MessageSocket<ConsoleRequest, ConsoleReply>>(
      loop_, std::move(socket), [this](const ConsoleReply& reply) { on_reply(reply); });
  TRY_VOID(socket_->start());
  dialogue_ = {};
  // Their terminals have died with the daemon.
  while (!being_read_.empty()) terminal_closed_at_the_end(being_read_.begin()->first);
  for (auto& [key, console] : consoles_) {
    if (!console.is_assumed) send(console.attach);
    // What has been detached already is attached and detached again: its domain waits for the answer.
    if (console.detaching) send(ConsoleRequestKind::kDetach, console.attach.console);
    // The old one has died with its daemon, and the next may have the same name.
    if (console.terminal != "") console.terminal.reset();
    if (console.wants_terminal && !console.detaching) send(ConsoleRequestKind::kOpenTerminal, console.attach.console);
  }
  return {};
}

void ConsoleLink::send(ConsoleRequestKind kind, console::ConsoleId id) {
  ConsoleRequest request{};
  request.kind = kind;
  request.console = id;
  send(request);
}

void ConsoleLink::send(const ConsoleRequest& request) {
  if (!socket_) return;
  if (request.kind == ConsoleRequestKind::kAttach || request.kind == ConsoleRequestKind::kDetach) ++dialogue_.questions;
  socket_->send(request);
}

void ConsoleLink::attach(const ConsoleRequest& request, Done done) {
  const auto [entry, is_new] = consoles_.try_emplace(key_of(request.console));
  if (!is_new) return done(fail(EEXIST, "the console is attached"));
  entry->second.attach = request;
  entry->second.attach.kind = ConsoleRequestKind::kAttach;
  entry->second.attached = std::move(done);
  send(entry->second.attach);
}

void ConsoleLink::rename(console::ConsoleId id, const std::string& name) {
  const auto found = consoles_.find(key_of(id));
  if (found == consoles_.end()) return;
  ConsoleRequest request = found->second.attach;
  request.kind = ConsoleRequestKind::kRename;
  request.name[name.copy(request.name, sizeof request.name - 1)] = '\0';
  send(request);
  std::memcpy(found->second.attach.name, request.name, sizeof request.name);
}

void ConsoleLink::assume(console::ConsoleId id) {
  Console& console = consoles_[key_of(id)];
  console.attach.console = id;
  console.is_assumed = true;
}

void ConsoleLink::detach(console::ConsoleId id, bool for_ever, Done done) {
  const auto found = consoles_.find(key_of(id));
  if (found == consoles_.end()) return done({});
  Console& console = found->second;
  console.detached.push_back(std::move(done));
  console.ending |= for_ever;
  if (!std::exchange(console.detaching, true)) send(ConsoleRequestKind::kDetach, id);
}

void ConsoleLink::open_terminal(console::ConsoleId id) {
  const auto found = consoles_.find(key_of(id));
  if (found == consoles_.end() || found->second.detaching) return;
  found->second.wants_terminal = true;
  send(ConsoleRequestKind::kOpenTerminal, id);
}

void ConsoleLink::on_reply(const ConsoleReply& reply) {
  const bool is_answer = reply.kind == ConsoleReplyKind::kAttached || reply.kind == ConsoleReplyKind::kAttachFailed ||
                         reply.kind == ConsoleReplyKind::kDetached;
  if (is_answer && dialogue_.is_asked()) ++dialogue_.answers;
  const auto found = consoles_.find(key_of(reply.console));
  if (found == consoles_.end()) {
    if (reply.kind == ConsoleReplyKind::kTerminalClosed) terminal_closed_at_the_end(key_of(reply.console));
    return;
  }
  Console& console = found->second;
  switch (reply.kind) {
    case ConsoleReplyKind::kAttached:
      if (const Done attached = std::exchange(console.attached, {})) attached({});
      return;
    case ConsoleReplyKind::kAttachFailed:
      return on_attach_failed(console, reply);
    case ConsoleReplyKind::kDetached: {
      if (!console.detaching) return;
      if (console.ending && console.terminal && !console.terminal->empty()) {
        being_read_[found->first] = std::move(console.detached);
        consoles_.erase(found);
        return;
      }
      tell_terminal(console, "");
      const Console gone = std::move(console);
      consoles_.erase(found);
      for (const Done& detached : gone.detached) detached({});
      return;
    }
    case ConsoleReplyKind::kTerminalOpened:
    case ConsoleReplyKind::kTerminalClosed: {
      std::string path;
      if (reply.kind == ConsoleReplyKind::kTerminalOpened)
        path.assign(reply.path, strnlen(reply.path, sizeof reply.path));
      if (reply.error != 0) {
        log::warn("a terminal for domain {}, console {}: {}", reply.console.domid, reply.console.index,
                  std::strerror(reply.error));
      }
      console.wants_terminal = !path.empty();
      tell_terminal(console, path);
      return;
    }
  }
}

void ConsoleLink::terminal_closed_at_the_end(uint32_t key) {
  const auto found = being_read_.find(key);
  if (found == being_read_.end()) return;
  const std::vector<Done> detached = std::move(found->second);
  being_read_.erase(found);
  for (const Done& done : detached) done({});
}

void ConsoleLink::tell_terminal(Console& console, const std::string& path) {
  if (std::exchange(console.terminal, path) != path && on_terminal_) on_terminal_(console.attach.console, path);
}

void ConsoleLink::on_attach_failed(Console& console, const ConsoleReply& reply) {
  const Done attached = std::exchange(console.attached, {});
  if (!attached) {
    log::error("polis-consoled lost console {} of domain {}: {}", reply.console.index, reply.console.domid,
               std::strerror(reply.error));
  }
  tell_terminal(console, "");
  if (!console.detaching) consoles_.erase(key_of(reply.console));
  if (attached) attached(fail(reply.error, "polis-consoled: binding the console's event channel"));
}

}  // namespace xenopolis::toolstack
