// Fairness between transactions that conflict. Optimistic transactions alone would let a client fail for ever, and let
// most of the work of many clients be in vain.
//
// A client whose commit was refused because of a path contends for that path. Its next TRANSACTION_START gets a turn at
// the path, if need be after waiting for the turns of others there, the oldest first: age counts from the first
// refusal, and is lost by success and by a turn that ran out. While a transaction has its turn
//   - commits of others that would change what it has read are refused (and so contend as well), unless they have an
//     older turn themselves: so the oldest cannot be refused, and every contender becomes the oldest;
//   - other changes that would do so wait.
// A client that has had a turn expects to need another: if somebody has the turn at that path when its next transaction
// starts, it waits for its own, as the youngest, instead of working in vain first.
// A turn ends with its transaction, and after kTurnNs at the latest. Whoever does not come back waits in no queue: only
// requests that have arrived do. There is one queue for each path, so a client waits only for clients that read the
// very node that it failed at.
//
// Dom0 goes before guests: its changes outside of transactions do not wait for guests' turns, its turns are older than
// any guest's, and it waits for one guest's turn at most before its own (they alternate, so that guests get turns too).
// Bounds: no request waits longer than kStartWaitNs, whatever anybody does, and no change longer than the turn that it
// waits for, once. docs/invariants.md says what follows from that.
//
// Belongs to one thread, like the store.
#pragma once

#include <boost/intrusive/list.hpp>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "xenstore/tree.h"

namespace xenopolis::xenstore {

class Connection;
class Transaction;
class Turn;
class Turns;

inline constexpr uint64_t kGuestTurnNs = 4'000'000;
inline constexpr uint64_t kDom0TurnNs = 10'000'000;
inline constexpr uint64_t kStartWaitNs = 20'000'000;
// Turns looked at for one request that changes something; there are more only if so many transactions have read what it
// changes, and all the first of them go behind it.
inline constexpr unsigned kTurnsLookedAt = 256;

// Who goes first: Dom0, then by age.
struct Seniority {
  bool is_guest = true;
  uint64_t ticket = 0;  // taken at the first refusal

  auto operator<=>(const Seniority&) const = default;
};

using TurnHook = boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
template <class T>
using TurnList = boost::intrusive::list<T, boost::intrusive::constant_time_size<false>>;

// A client that was refused, or that waits. Belongs to its connection; destroying it leaves all queues.
class Contender : public TurnHook {
 public:
  Contender(Turns& turns, Connection& connection);
  ~Contender();
  Contender(const Contender&) = delete;
  Contender& operator=(const Contender&) = delete;

 private:
  friend class Turn;
  friend class Turns;
  Turns& turns_;
  Connection& connection_;
  std::string path_;         // where its commit failed, until its next start
  uint64_t ticket_ = 0;      // 0: none
  bool expects_ = false;     // to conflict at path_ once more, as it had a turn there before
  bool is_queued_ = false;   // its start waits for a turn at path_...
  Seniority place_;          // ...here
  bool has_waited_ = false;  // the request that comes next need not wait again
  uint64_t deadline_ns_ = 0;
  std::unique_ptr<Turn> turn_;  // granted, and its start not answered yet
};

// One transaction's turn. Ends when destroyed, if it has not run out before.
class Turn : public TurnHook {
 public:
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  // The transaction has read `path`, which must stay where it is as long as the turn. `what`: kReadContent etc.
  void protect(std::string_view path, uint8_t what);
  bool is_over() const { return is_over_; }

 private:
  friend class Turns;
  struct Covered {
    std::string_view path;
    Seniority seniority;
    auto operator<=>(const Covered&) const = default;
  };
  struct Cover {
    Turn* turn;
    uint8_t what;
  };
  using Covers = std::map<Covered, Cover>;

  Turn(Turns& turns, Connection& connection, std::string path, Seniority seniority, uint64_t end_ns);

  Turns& turns_;
  Connection& connection_;
  const std::string path_;
  const Seniority seniority_;
  const uint64_t end_ns_;
  bool is_over_ = false;
  std::vector<Covers::iterator> covered_;
  TurnList<Contender> waiting_changes_;
};

class Turns {
 public:
  explicit Turns(const Clock& clock) : clock_(clock) {}
  ~Turns();

  // TRANSACTION_START. False: the connection was parked, and the request comes again.
  bool admit(Connection& connection);
  // Gives the transaction that the admitted request started the client's turn and age, if it has any.
  void started(Connection& connection, Transaction& transaction);

  // A change outside of a transaction that is about to be made to `tree`. False: the connection was parked.
  bool admit_change(Connection& connection, const ChangeRequest& change, const Tree& tree);
  // Whether the commit would spoil a turn that goes before it: then the path for which it must be refused. Mostly not.
  std::optional<std::string> refusal(Connection& connection, const Transaction& transaction, const Tree& tree);

  // How the transaction's commit went. A refused client contends for `path`, if that is not empty.
  void refused(Connection& connection, std::string_view path);
  void committed(Connection& connection, const Transaction& transaction);

  // Ends the turns and waits whose time has come. To be called at next_deadline_ns().
  void advance() { advance_to(clock_.now_ns()); }
  void advance_to(uint64_t now_ns);
  // 0: nobody waits.
  uint64_t next_deadline_ns() const;
  // Nobody has a turn or waits for one.
  bool is_idle() const { return queues_.empty() && covers_.empty() && waiting_count_ == 0; }

 private:
  friend class Turn;
  friend class Contender;
  // All at one path: exists as long as somebody has the turn there.
  struct Queue {
    Turn* holder = nullptr;
    std::map<Seniority, Contender*> waiting;
    bool was_dom0 = false;  // who had the turn last
  };
  using Queues = std::unordered_map<std::string, Queue>;

  // What a change would spoil.
  struct Spoiled {
    Turn* turn = nullptr;
    std::string_view path;
  };

  static Seniority seniority_of(const Contender& contender);
  Contender& contender_of(Connection& connection);
  std::unique_ptr<Turn> grant(Connection& connection, const std::string& path, uint64_t ticket);
  void end(Turn& turn);
  void pass_on(Queues::iterator queue);
  void leave(Contender& contender);
  void wake(Contender& contender);

  // The first turn that goes before `by`, and before `seniority` if that is given, and that the change would spoil. At
  // most `budget` are looked at.
  Spoiled first_spoiled(const ChangeRequest& change, const Tree& tree, const Connection& by,
                        const std::optional<Seniority>& seniority, unsigned& budget);

  const Clock& clock_;
  uint64_t next_ticket_ = 1;
  unsigned waiting_count_ = 0;
  Queues queues_;
  Turn::Covers covers_;
  // By the time of their end, as all of a kind last equally long.
  TurnList<Turn> dom0_turns_;
  TurnList<Turn> guest_turns_;
  TurnList<Contender> waiting_starts_;
};

}  // namespace xenopolis::xenstore
