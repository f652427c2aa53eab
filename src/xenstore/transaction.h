// A transaction: a snapshot, the view that its own changes make of it, and what is needed to commit.
//
// Commit (Store::commit) is optimistic. What was read must be what the committed version still has; then the changes
// are made again, in order, to the committed version. A change that came out differently than in the view (an error, as
// all changes that succeed answer the same) is a conflict like a read that changed. So two transactions that only add
// children to one directory do not disturb each other, and what commits has the effect of one that ran alone, at the
// moment of its end.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "xenstore/tree.h"

namespace xenopolis::xenstore {

class Transaction {
 public:
  explicit Transaction(const Tree& committed) : base_(committed), view_(committed) {}

  // What the transaction's requests see.
  Tree& view() { return view_; }
  // What its changes mean so far: counts only, for the quota of nodes.
  Effects& view_effects() { return view_effects_; }

  // False: the subject's quota allows no more.
  bool note_read(std::string_view path, uint8_t what, const Subject& subject, const Quota& quota);
  bool note_change(const ChangeRequest& request, const Subject& subject, const Quota& quota);
  void forget_last_change() { changes_.pop_back(); }

  // Whether everything that was read is the same in `committed`.
  bool reads_hold_in(const Tree& committed) const;

  struct LoggedChange {
    ChangeKind kind;
    std::string path;
    std::string value;
    PermsRef perms;
  };
  const std::vector<LoggedChange>& changes() const { return changes_; }

 private:
  // What a read depended on: a node as it was in the snapshot, or that there was none.
  struct Read {
    uint8_t what = 0;
    bool existed = false;
    uint64_t content_generation = 0;
    uint64_t children_generation = 0;
    PermsRef perms;  // every read depends on them
  };

  bool has_room(size_t bytes, const Subject& subject, const Quota& quota);
  void depend_on(std::string_view path, const Node* node, uint8_t what);

  Tree base_;
  Tree view_;
  Effects view_effects_;
  std::map<std::string, Read, std::less<>> reads_;
  std::vector<LoggedChange> changes_;
  size_t bytes_ = 0;
};

}  // namespace xenopolis::xenstore
