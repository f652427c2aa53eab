#include "console/server.h"

#include <fmt/format.h>

#include "base/log.h"

namespace xenopolis::console {

Server::Server(DomainLink& link, LogFiles& logs) : link_(link), logs_(logs), buffer_(kTurnBytes) {}

Server::~Server() {
  while (!consoles_.empty()) detach(consoles_.begin()->first);
}

Status Server::attach(DomId domid, Gfn console_gfn, Port remote_port, const std::string& name) {
  if (consoles_.contains(domid)) return fail(EEXIST, fmt::format("domain {} has its console attached", domid));
  if (!LogFiles::is_valid_name(name)) return fail(EINVAL, fmt::format("'{}' cannot name a log file", name));
  const AttachedConsole attached = TRY(link_.attach(domid, console_gfn, remote_port));
  auto console = std::make_unique<Console>(Console{domid, attached.port, name, OutputRing(*attached.page)});
  by_port_[attached.port] = console.get();
  queue(*console);
  consoles_[domid] = std::move(console);
  return {};
}

void Server::detach(DomId domid) {
  const auto found = consoles_.find(domid);
  if (found == consoles_.end()) return;
  const std::unique_ptr<Console> console = std::move(found->second);
  consoles_.erase(found);
  by_port_.erase(console->port);
  // One turn holds many times what fits into a ring; a guest that still writes is cut off.
  serve(*console);
  link_.detach(console->port);
  logs_.forget(console->name);
}

void Server::on_event(Port port) {
  const auto found = by_port_.find(port);
  if (found != by_port_.end()) queue(*found->second);
}

void Server::queue(Console& console) {
  if (console.queued) return;
  console.queued = true;
  ready_.push_back(console.domid);
}

void Server::run_turns() {
  for (size_t left = ready_.size(); left > 0; --left) {
    const auto found = consoles_.find(ready_.front());
    ready_.pop_front();
    // Gone, or gone and come back and then queued for itself.
    if (found == consoles_.end() || !found->second->queued) continue;
    found->second->queued = false;
    serve(*found->second);
  }
}

// Bounded by kTurnBytes: every look but the last takes one byte at least.
void Server::serve(Console& console) {
  size_t filled = 0;
  while (filled < buffer_.size()) {
    const Taken taken = console.ring.take(std::span(buffer_).subspan(filled));
    if (taken.invalid_index) {
      complain(console);
      break;
    }
    if (taken.bytes == 0) break;
    filled += taken.bytes;
  }
  if (filled == 0) return;
  logs_.append(console.name, std::span(buffer_).first(filled));
  bytes_logged_ += filled;
  link_.notify(console.port);
  if (filled == buffer_.size()) queue(console);
}

void Server::complain(Console& console) {
  if (console.complained) return;
  console.complained = true;
  log::warn("domain {} ({}) wrote an impossible index into its console ring: its output is incomplete", console.domid,
            console.name);
}

}  // namespace xenopolis::console
