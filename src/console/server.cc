#include "console/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/fault_point.h"
#include "base/log.h"
#include "machine/service_counters.h"

namespace xenopolis::console {
namespace {

bool can_name_file(std::string_view name) {
  return !name.empty() && name.find('/') == std::string_view::npos;
}

}  // namespace

Console::Console(DomainLink& link, const ConsoleRequest& request, const AttachedConsole& attached, Stream stream,
                 XENCONS_RING_IDX consumed)
    : link_(link),
      id_(request.console),
      request_(request),
      port_(attached.port),
      stream_(stream),
      ring_(*attached.page, consumed),
      name_(request.name, strnlen(request.name, sizeof request.name)),
      credit_(Server::kCredit) {}

size_t Console::write(std::string_view input, Viewer& viewer) {
  const size_t written = ring_.write(input);
  if (written != 0) link_.notify(port_);
  machine::count_service(machine::ConsoleCounter::kInputBytes, written);
  if (written < input.size() &&
      std::find(wait_for_room_.begin(), wait_for_room_.end(), &viewer) == wait_for_room_.end()) {
    wait_for_room_.push_back(&viewer);
  }
  return written;
}

void Console::remove_viewer(Viewer& viewer) {
  std::erase(viewers_, &viewer);
  std::erase(wait_for_room_, &viewer);
}

Server::~Server() {
  for (const auto& [key, console] : consoles_) link_.detach(console->port_);
}

Status Server::attach(const ConsoleRequest& request) {
  const ConsoleId id = request.console;
  if (const Console* there = find(id)) {
    const ConsoleRequest& known = there->request_;
    if (request.incarnation == known.incarnation && request.remote_port == known.remote_port &&
        request.is_granted == known.is_granted && request.grant == known.grant && request.gfn == known.gfn) {
      return {};
    }
    return fail(EEXIST, fmt::format("console {} of domain {} is attached", id.index, id.domid));
  }
  const std::string_view name(request.name, strnlen(request.name, sizeof request.name));
  if (!can_name_file(name)) {
    return fail(EINVAL, fmt::format("'{}' cannot name a log file", name));
  }
  const AttachedConsole attached = TRY(link_.attach(request));
  const auto found = history_.attach(id, request.incarnation, ConsoleRing::consumed_by_page(*attached.page));
  if (!found) {
    link_.detach(attached.port);
    return tl::make_unexpected(found.error());
  }
  const auto [stream, is_continued] = *found;
  auto console = std::make_unique<Console>(link_, request, attached, stream, stream.ring_index());
  by_port_[attached.port] = console.get();
  if (id.index == 0) by_name_[console->name()] = console.get();
  fresh_.push_back(*console);
  Console& attached_console = *console;
  consoles_[key_of(id)] = std::move(console);
  // What a predecessor had taken, and who looks at all has not seen.
  if (is_continued) tell_output(attached_console);
  return {};
}

void Server::detach(ConsoleId id) {
  const auto found = consoles_.find(key_of(id));
  if (found == consoles_.end()) return;
  const std::unique_ptr<Console> console = std::move(found->second);
  consoles_.erase(found);
  by_port_.erase(console->port_);
  if (id.index == 0) by_name_.erase(console->name());
  console->unlink();
  now_ms_ = calendar_.now_ns() / 1'000'000;
  // One turn holds more than fits into a ring; a guest that still writes is cut off.
  if (take(*console) != 0) tell_output(*console);
  const std::vector<Viewer*> own = console->viewers_;  // they remove themselves
  for (Viewer* viewer : own) viewer->on_end(*console);
  for (Viewer* viewer : viewers_) viewer->on_end(*console);
  link_.detach(console->port_);
  history_.forget(console->stream());
}

void Server::rename(const ConsoleRequest& request) {
  Console* console = find(request.console);
  const std::string_view name(request.name, strnlen(request.name, sizeof request.name));
  if (console == nullptr || !can_name_file(name) || name == console->name_) return;
  const bool is_first = console->id_.index == 0;
  if (is_first) by_name_.erase(console->name_);
  const std::string before = std::exchange(console->name_, std::string(name));
  if (is_first) by_name_[console->name_] = console;
  for (Viewer* viewer : viewers_) viewer->on_rename(*console, before);
}

void Server::on_event(Port port) {
  const auto found = by_port_.find(port);
  if (found == by_port_.end()) return;
  Console& console = *found->second;
  queue(console);
  if (console.wait_for_room_.empty() || console.ring_.room() == 0) return;
  // Each once: who finds too little waits again, and who is told may make another leave.
  for (size_t left = console.wait_for_room_.size(); left != 0 && !console.wait_for_room_.empty(); --left) {
    Viewer* viewer = console.wait_for_room_.front();
    console.wait_for_room_.erase(console.wait_for_room_.begin());
    viewer->on_room(console);
  }
}

void Server::queue(Console& console) {
  if (console.is_linked()) return;
  const uint64_t now_ns = clock_.now_ns();
  if (const uint64_t earned = (now_ns - console.credited_ns_) / kNsPerCreditedByte; earned != 0) {
    console.credit_ = static_cast<uint32_t>(std::min<uint64_t>(kCredit, console.credit_ + earned));
    console.credited_ns_ = now_ns;
  }
  (console.credit_ >= kOutputBytes ? fresh_ : storming_).push_back(console);
}

void Server::run_turns() {
  if (!has_work()) return;
  now_ms_ = calendar_.now_ns() / 1'000'000;
  for (Queue serving(std::move(fresh_)); !serving.empty();) {
    Console& console = serving.front();
    serving.pop_front();
    serve(console);
  }
  for (uint32_t bytes = 0; bytes < kStormBytes && !storming_.empty();) {
    Console& console = storming_.front();
    storming_.pop_front();
    bytes += std::max(kOutputBytes, serve(console));
  }
}

// Says how many bytes that were. A console with more in its ring is queued again.
uint32_t Server::serve(Console& console) {
  const uint32_t bytes = take(console);
  if (bytes == 0) return 0;
  console.credit_ -= std::min(console.credit_, bytes);
  link_.notify(console.port_);
  if (bytes >= kTurnBytes) queue(console);
  tell_output(console);
  return bytes;
}

void Server::tell_output(Console& console) {
  for (Viewer* viewer : console.viewers_) viewer->on_output(console);
  for (Viewer* viewer : viewers_) viewer->on_output(console);
}

// Bounded by kTurnBytes and a ring more: every look but the last takes one byte at least.
uint32_t Server::take(Console& console) {
  uint32_t taken = 0;
  while (taken < kTurnBytes) {
    const ConsoleRing::Output output = console.ring_.output();
    if (!output.is_valid) {
      complain(console);
      console.stream_.set_ring_index(output.produced);
      console.ring_.skip_to(output.produced);
      break;
    }
    const auto bytes = static_cast<uint32_t>(output.first.size() + output.second.size());
    if (bytes == 0) break;
    if (!output.first.empty()) console.stream_.append(output.first, now_ms_);
    if (!output.second.empty()) console.stream_.append(output.second, now_ms_);
    // Before the guest may overwrite it, it is where it outlives us.
    fault_point("console: taken, not freed");
    console.ring_.free(bytes);
    taken += bytes;
  }
  bytes_taken_ += taken;
  machine::count_service(machine::ConsoleCounter::kOutputBytes, taken);
  machine::count_service(machine::ConsoleCounter::kTurns);
  return taken;
}

void Server::complain(Console& console) {
  if (console.has_complained_) return;
  console.has_complained_ = true;
  log::warn("domain {} ({}) wrote an impossible index into its console ring: its output is incomplete",
            console.id().domid, console.name());
}

void Server::remove_viewer(Viewer& viewer) {
  std::erase(viewers_, &viewer);
}

Console* Server::find(ConsoleId id) {
  const auto found = consoles_.find(key_of(id));
  return found == consoles_.end() ? nullptr : found->second.get();
}

Console* Server::find(std::string_view name, uint16_t index) {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return nullptr;
  return index == 0 ? found->second : find({found->second->id().domid, index});
}

}  // namespace xenopolis::console
