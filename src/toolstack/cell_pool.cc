#include "toolstack/cell_pool.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <bit>
#include <charconv>

#include "base/log.h"
#include "toolstack/cell_reply.h"
#include "toolstack/unix_socket.h"

namespace xenopolis::toolstack {
namespace {

constexpr std::string_view kKeyPrefix = "cell-";

}  // namespace

CellPool::CellPool(EventLoop& loop, machine::Machine& machine, Keeper& keeper, CellPoolConfig config,
                   ReplyHandler on_reply, DeathHandler on_death)
    : loop_(loop),
      machine_(machine),
      keeper_(keeper),
      config_(std::move(config)),
      on_reply_(std::move(on_reply)),
      on_death_(std::move(on_death)) {}

CellPool::~CellPool() {
  // All at once: each may take a while to close its virtual machines.
  for (auto& [number, cell] : cells_) {
    loop_.remove(cell->process.pidfd());
    cell->process.signal(SIGKILL);
  }
}

std::optional<uint32_t> CellPool::number_of(std::string_view key) {
  if (!key.starts_with(kKeyPrefix)) return std::nullopt;
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(key.data() + kKeyPrefix.size(), key.data() + key.size(), number);
  if (error != std::errc() || end != key.data() + key.size() || number >= machine::kCellCount) return std::nullopt;
  return number;
}

uint64_t CellPool::all_slots() const {
  return config_.domains_per_cell == 64 ? ~0ull : (1ull << config_.domains_per_cell) - 1;
}

Result<uint32_t> CellPool::free_number() const {
  if (!free_numbers_.empty()) return free_numbers_.back();
  if (next_number_ < machine::kCellCount) return next_number_;
  return fail(EAGAIN, fmt::format("all {} cells are in use", machine::kCellCount));
}

Status CellPool::enter(uint32_t number, Process process, Fd socket) {
  auto cell = std::make_unique<Cell>(Cell{std::move(process), nullptr, {}, all_slots()});
  cell->socket = std::make_unique<MessageSocket<vcpu::CellRequest, vcpu::CellReply>>(
      loop_, std::move(socket), [this, number](const vcpu::CellReply& reply) { on_reply(number, reply); },
      [this, number] { machine_.doorbells().ring_attention(number); });
  TRY_VOID(cell->socket->start());
  TRY_VOID(loop_.add(cell->process.pidfd(), EPOLLIN, [this, number](uint32_t) { on_end(number); }));
  cells_.emplace(number, std::move(cell));
  return {};
}

Status CellPool::adopt(uint32_t number, Keeper::Kept kept,
                       const std::array<std::optional<DomId>, machine::kVcpusPerDoorbell>& domains) {
  if (!kept.process || kept.fds.size() != 1) return fail(EINVAL, fmt::format("cell {} without its socket", number));
  // A polisd before this one may have died between telling it something and ringing its bell.
  TRY_VOID(enter(number, std::move(*kept.process), std::move(kept.fds[0])));
  machine_.doorbells().ring_attention(number);
  Cell& cell = *cells_.at(number);
  cell.domains = domains;
  for (uint32_t slot = 0; slot < domains.size(); ++slot) {
    if (domains[slot]) cell.free_slots &= ~(1ull << slot);
  }
  if (cell.free_slots != 0) partly_free_.insert(number);
  for (; next_number_ <= number; ++next_number_) {
    if (next_number_ != number) free_numbers_.push_back(next_number_);
  }
  std::erase(free_numbers_, number);
  return {};
}

Result<uint32_t> CellPool::start_cell() {
  const uint32_t number = TRY(free_number());
  SocketPair control = TRY(seqpacket_pair());
  std::vector<int> fds = machine_.fds();
  fds.push_back(control.theirs.get());
  std::vector<std::string> arguments = machine_arguments();
  for (const std::string& argument :
       {std::string("--control-fd"), std::to_string(kFdAfterMachine), std::string("--cell"), std::to_string(number),
        std::string("--backend"), config_.backend, std::string("--log-level"), config_.log_level}) {
    arguments.push_back(argument);
  }
  Process process = TRY(keeper_.spawn(fmt::format("{}{}", kKeyPrefix, number), config_.cell_program, arguments, fds,
                                      {control.ours.get()}));
  TRY_VOID(enter(number, std::move(process), std::move(control.ours)));
  if (!free_numbers_.empty()) {
    free_numbers_.pop_back();
  } else {
    ++next_number_;
  }
  return number;
}

Result<Place> CellPool::take(DomId domid) {
  while (open_.size() < config_.open_cells) {
    if (!partly_free_.empty()) {
      open_.push_back(partly_free_.extract(partly_free_.begin()).value());
      continue;
    }
    Result<uint32_t> started = start_cell();
    if (!started && open_.empty()) return tl::make_unexpected(std::move(started).error());
    if (!started) break;  // go on with the cells there are
    open_.push_back(*started);
  }
  next_open_ = (next_open_ + 1) % open_.size();
  const uint32_t number = open_[next_open_];
  Cell& cell = *cells_.at(number);
  const auto slot = static_cast<uint32_t>(std::countr_zero(cell.free_slots));
  cell.free_slots &= ~(1ull << slot);
  cell.domains[slot] = domid;
  if (cell.free_slots == 0) open_.erase(open_.begin() + static_cast<long>(next_open_));
  return Place{number, slot};
}

void CellPool::give_back(const Place& place) {
  const auto found = cells_.find(place.cell);
  if (found == cells_.end()) return;
  Cell& cell = *found->second;
  cell.domains[place.slot].reset();
  cell.free_slots |= 1ull << place.slot;
  if (std::find(open_.begin(), open_.end(), place.cell) == open_.end()) partly_free_.insert(place.cell);
}

void CellPool::send(uint32_t cell, const vcpu::CellRequest& request, SharedFds fds) {
  const auto found = cells_.find(cell);
  if (found == cells_.end()) return;
  ++found->second->dialogue.questions;
  found->second->socket->send(request, std::move(fds));
}

void CellPool::on_reply(uint32_t number, const vcpu::CellReply& reply) {
  if (reply.kind == vcpu::CellReplyKind::kNotStarted) {
    if (const auto believed = checked(reply)) cells_.at(number)->complaint = Error{believed->error, believed->text};
    return;
  }
  const bool is_answer = reply.kind != vcpu::CellReplyKind::kReady && reply.kind != vcpu::CellReplyKind::kShutdown;
  // The first ones may be for a polisd before this one.
  if (Dialogue& dialogue = cells_.at(number)->dialogue; is_answer && dialogue.is_asked()) ++dialogue.answers;
  on_reply_(number, reply);
}

std::vector<pid_t> CellPool::pids() const {
  std::vector<pid_t> result;
  for (const auto& [number, cell] : cells_) result.push_back(cell->process.pid());
  return result;
}

void CellPool::on_end(uint32_t number) {
  const auto found = cells_.find(number);
  if (found == cells_.end()) return;
  found->second->socket->receive_rest();
  std::unique_ptr<Cell> cell = std::move(found->second);
  cells_.erase(found);
  std::erase(open_, number);
  partly_free_.erase(number);
  loop_.remove(cell->process.pidfd());
  // While it is unreaped its process number is nobody else's: from here on senders signal nobody.
  machine_.doorbells().abandon(number);
  Error why{ECANCELED, cell->process.reap()};
  if (cell->complaint) why = {cell->complaint->code, "could not start: " + cell->complaint->what};
  free_numbers_.push_back(number);
  std::vector<DomId> domains;
  for (const std::optional<DomId>& domid : cell->domains) {
    if (domid) domains.push_back(*domid);
  }
  // It may have died between marking somebody's doorbell and waking him.
  machine_.doorbells().poke_all();
  on_death_(number, why, domains);
}

}  // namespace xenopolis::toolstack
