#include "xenstore/turns.h"

#include <algorithm>

#include "base/check.h"
#include "xenstore/connection.h"
#include "xenstore/transaction.h"

namespace xenopolis::xenstore {
namespace {

constexpr uint8_t kReadAnything = kReadContent | kReadChildren | kReadPerms;
constexpr Seniority kAnyDom0{false, 0};
constexpr Seniority kAnyGuest{true, 0};  // after every turn of Dom0, before every turn of a guest

}  // namespace

Turn::Turn(Turns& turns, Connection& connection, std::string path, Seniority seniority, uint64_t end_ns)
    : turns_(turns), connection_(connection), path_(std::move(path)), seniority_(seniority), end_ns_(end_ns) {}

Turn::~Turn() {
  turns_.end(*this);
}

// Not after its time: so the turns that exist at one moment cover no more than what can be read in the time of one
// turn.
void Turn::protect(std::string_view path, uint8_t what) {
  if (is_over_ || turns_.clock_.now_ns() >= end_ns_) return;
  const auto [entry, is_new] = turns_.covers_.try_emplace(Covered{path, seniority_}, Cover{this, what});
  if (is_new) {
    covered_.push_back(entry);
  } else {
    entry->second.what |= what;
  }
}

Contender::Contender(Turns& turns, Connection& connection) : turns_(turns), connection_(connection) {}

Contender::~Contender() {
  turns_.leave(*this);
}

Turns::~Turns() = default;

Contender& Turns::contender_of(Connection& connection) {
  std::unique_ptr<Contender>& contender = connection.contender();
  if (!contender) contender = std::make_unique<Contender>(*this, connection);
  return *contender;
}

bool Turns::admit(Connection& connection) {
  Contender* contender = connection.contender().get();
  if (contender == nullptr || contender->turn_ || std::exchange(contender->has_waited_, false)) return true;
  if (contender->path_.empty()) return true;
  advance();
  if (std::exchange(contender->expects_, false) && !queues_.contains(contender->path_)) {
    contender->path_.clear();
    return true;
  }
  if (contender->ticket_ == 0) contender->ticket_ = next_ticket_++;
  const auto queue = queues_.find(contender->path_);
  if (queue == queues_.end()) {
    contender->turn_ = grant(connection, contender->path_, contender->ticket_);
    return true;
  }
  // The client itself has the turn: it would wait in vain.
  if (&queue->second.holder->connection_ == &connection) return true;
  contender->place_ = seniority_of(*contender);
  queue->second.waiting.emplace(contender->place_, contender);
  contender->is_queued_ = true;
  contender->deadline_ns_ = clock_.now_ns() + kStartWaitNs;
  waiting_starts_.push_back(*contender);
  ++waiting_count_;
  connection.park();
  return false;
}

void Turns::started(Connection& connection, Transaction& transaction) {
  Contender* contender = connection.contender().get();
  if (contender == nullptr || contender->path_.empty()) return;
  transaction.contend(std::move(contender->turn_), contender->ticket_);
  contender->path_.clear();
}

bool Turns::admit_change(Connection& connection, const ChangeRequest& change, const Tree& tree) {
  Contender* known = connection.contender().get();
  if (known != nullptr && std::exchange(known->has_waited_, false)) return true;
  if (covers_.empty()) return true;
  advance();
  unsigned budget = kTurnsLookedAt;
  const bool is_guest = !connection.subject().is_privileged();
  const Spoiled spoiled =
      first_spoiled(change, tree, connection, is_guest ? std::nullopt : std::optional(kAnyGuest), budget);
  if (spoiled.turn == nullptr) return true;
  spoiled.turn->waiting_changes_.push_back(contender_of(connection));
  ++waiting_count_;
  connection.park();
  return false;
}

std::optional<std::string> Turns::refusal(Connection& connection, const Transaction& transaction, const Tree& tree) {
  if (covers_.empty()) return std::nullopt;
  advance();
  std::optional<Seniority> seniority;
  if (const Turn* own = transaction.turn(); own != nullptr && !own->is_over()) seniority = own->seniority_;
  unsigned budget = kTurnsLookedAt;
  for (const Transaction::LoggedChange& logged : transaction.changes()) {
    if (logged.refused) continue;
    const Spoiled spoiled =
        first_spoiled({logged.kind, logged.path, logged.value, logged.perms}, tree, connection, seniority, budget);
    if (spoiled.turn == nullptr) continue;
    // Where the other one has its turn, if both were there: so those who conflict over several paths wait at one.
    const std::string& theirs = spoiled.turn->path_;
    return transaction.has_accessed(theirs) ? theirs : std::string(spoiled.path);
  }
  return std::nullopt;
}

void Turns::refused(Connection& connection, std::string_view path) {
  if (path.empty()) return;
  Contender& contender = contender_of(connection);
  contender.path_ = path;
  contender.expects_ = false;
  if (contender.ticket_ == 0) contender.ticket_ = next_ticket_++;
}

void Turns::committed(Connection& connection, const Transaction& transaction) {
  Contender* contender = connection.contender().get();
  if (contender == nullptr || transaction.ticket() == 0 || transaction.ticket() != contender->ticket_) return;
  contender->ticket_ = 0;
  if (transaction.turn() == nullptr) return;
  contender->path_ = transaction.turn()->path_;
  contender->expects_ = true;
}

Seniority Turns::seniority_of(const Contender& contender) {
  return {!contender.connection_.subject().is_privileged(), contender.ticket_};
}

// The caller makes sure that nobody has the turn at `path`. From now on `path` is protected, though nothing was read
// yet:
//   1. a client gets its turn and is told so
//   2. before it reads, another one, who was not refused yet, reads, writes and commits
//   3. the client reads its snapshot, which is older than 2, and is refused in spite of its turn
std::unique_ptr<Turn> Turns::grant(Connection& connection, const std::string& path, uint64_t ticket) {
  const Seniority seniority{!connection.subject().is_privileged(), ticket};
  const uint64_t end_ns = clock_.now_ns() + (seniority.is_guest ? kGuestTurnNs : kDom0TurnNs);
  std::unique_ptr<Turn> turn(new Turn(*this, connection, path, seniority, end_ns));
  (seniority.is_guest ? guest_turns_ : dom0_turns_).push_back(*turn);
  Queue& queue = queues_[path];
  queue.holder = turn.get();
  queue.was_dom0 = !seniority.is_guest;
  turn->protect(turn->path_, kReadAnything);
  return turn;
}

void Turns::end(Turn& turn) {
  if (std::exchange(turn.is_over_, true)) return;
  turn.unlink();
  for (const auto& covered : turn.covered_) covers_.erase(covered);
  turn.covered_.clear();
  while (!turn.waiting_changes_.empty()) wake(turn.waiting_changes_.front());
  const auto queue = queues_.find(turn.path_);
  CHECK(queue != queues_.end() && queue->second.holder == &turn);
  pass_on(queue);
}

void Turns::pass_on(Queues::iterator queue) {
  auto& waiting = queue->second.waiting;
  if (waiting.empty()) {
    queues_.erase(queue);
    return;
  }
  auto next = waiting.begin();
  if (queue->second.was_dom0) {
    const auto guest = waiting.lower_bound(kAnyGuest);
    if (guest != waiting.end()) next = guest;
  }
  Contender& contender = *next->second;
  leave(contender);
  contender.turn_ = grant(contender.connection_, queue->first, contender.ticket_);
  contender.connection_.resume();
}

// Out of whatever it waits in.
void Turns::leave(Contender& contender) {
  if (!contender.is_linked()) return;
  contender.unlink();
  --waiting_count_;
  if (std::exchange(contender.is_queued_, false)) {
    queues_.find(contender.path_)->second.waiting.erase(contender.place_);
  }
}

void Turns::wake(Contender& contender) {
  leave(contender);
  contender.has_waited_ = true;
  contender.connection_.resume();
}

// The rest of the work is bounded by what has waited, and by what the turns that end have covered: see protect().
void Turns::advance_to(uint64_t now_ns) {
  for (TurnList<Turn>* turns : {&dom0_turns_, &guest_turns_}) {
    while (!turns->empty() && turns->front().end_ns_ <= now_ns) {
      Turn& turn = turns->front();
      Contender* contender = turn.connection_.contender().get();
      if (contender != nullptr && contender->ticket_ == turn.seniority_.ticket) contender->ticket_ = 0;
      end(turn);
      if (contender != nullptr && contender->turn_.get() == &turn) contender->turn_.reset();
    }
  }
  while (!waiting_starts_.empty() && waiting_starts_.front().deadline_ns_ <= now_ns) wake(waiting_starts_.front());
}

uint64_t Turns::next_deadline_ns() const {
  if (waiting_count_ == 0) return 0;
  uint64_t next_ns = UINT64_MAX;
  if (!dom0_turns_.empty()) next_ns = std::min(next_ns, dom0_turns_.front().end_ns_);
  if (!guest_turns_.empty()) next_ns = std::min(next_ns, guest_turns_.front().end_ns_);
  if (!waiting_starts_.empty()) next_ns = std::min(next_ns, waiting_starts_.front().deadline_ns_);
  return next_ns;
}

Turns::Spoiled Turns::first_spoiled(const ChangeRequest& change, const Tree& tree, const Connection& by,
                                    const std::optional<Seniority>& seniority, unsigned& budget) {
  Spoiled found;
  // Whether a turn goes before `by` and depends on what the change does to `at`.
  const auto is_spoiled = [&](Turn::Covers::const_iterator at, uint8_t what) {
    Turn* turn = at->second.turn;
    if (&turn->connection_ == &by || (at->second.what & what) == 0) return false;
    if (seniority && !(turn->seniority_ < *seniority)) return false;
    found = {turn, at->first.path};
    return true;
  };
  const auto look_at = [&](std::string_view path, uint8_t what) {
    for (auto at = covers_.lower_bound({path, kAnyDom0}); at != covers_.end() && at->first.path == path; ++at) {
      if (budget == 0 || --budget == 0) return true;
      // The oldest come first.
      if (seniority && !(at->first.seniority < *seniority)) return false;
      if (is_spoiled(at, what)) return true;
    }
    return false;
  };
  const auto look_below = [&](const std::string& prefix) {
    for (auto at = covers_.lower_bound({prefix, kAnyDom0}); at != covers_.end() && at->first.path.starts_with(prefix);
         ++at) {
      if (budget == 0 || --budget == 0 || is_spoiled(at, kReadAnything)) return true;
    }
    return false;
  };

  const Place place = tree.find(change.path);
  switch (change.kind) {
    case ChangeKind::kSetPerms:
      if (place.node != nullptr) look_at(change.path, kReadAnything);
      return found;
    case ChangeKind::kRemove:
      if (place.node == nullptr || change.path.size() == 1) return found;
      if (look_at(change.path, kReadAnything) || look_at(parent_path(change.path), kReadChildren)) return found;
      look_below(std::string(change.path) + "/");
      return found;
    case ChangeKind::kWrite:
    case ChangeKind::kMakeDirectory:
      if (place.node != nullptr) {
        if (change.kind == ChangeKind::kWrite) look_at(change.path, kReadContent);
        return found;
      }
      if (!look_at(place.nearest_path(change.path), kReadChildren)) {
        look_at(place.first_missing_path(change.path), kReadAnything);
      }
      return found;
  }
  return found;
}

}  // namespace xenopolis::xenstore
