// A transaction: what it has read and what it has changed, and the view that its requests see.
//
// Commit (Store::commit) is optimistic. What was read must be what the committed version still has; then the changes
// are made again, in order, to the committed version, also those that were refused. A change that comes out differently
// than in the view (done or refused, and with what error: nothing else is answered) is a conflict like a read that
// changed. So two transactions that only add children to one directory do not disturb each other, and what commits has
// the effect of one that ran alone, at the moment of its end.
//
// The view, a snapshot with the transaction's own changes, only serves to answer its requests, and can be made again
// from a newer snapshot: if the reads hold there, it is as if the transaction had begun then, and if they do not, it is
// going to be refused anyway. So old views are dropped (Store::drop_old_views()), and a transaction that stays open
// holds on to nothing but its own reads and changes, which the quotas bound.
#pragma once

#include <boost/intrusive/list.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "xenstore/tree.h"
#include "xenstore/turns.h"

namespace xenopolis::xenstore {

// Linked while it has a view.
class Transaction
    : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  Transaction() = default;

  struct LoggedChange {
    ChangeKind kind;
    std::string_view path;  // kept by the transaction
    std::string value;
    PermsRef perms;
    std::optional<XsError> refused;
  };
  const std::vector<LoggedChange>& changes() const { return changes_; }
  size_t accessed_count() const { return asked_for_; }  // nodes that requests have named
  bool has_accessed(std::string_view path) const { return accessed_.find(path) != accessed_.end(); }

  // Its turn (nullptr: none), and the age that it inherits from earlier tries (0: this is the first).
  void contend(std::unique_ptr<Turn> turn, uint64_t ticket);
  const Turn* turn() const { return turn_.get(); }
  uint64_t ticket() const { return ticket_; }

  // It was refused: for what path its client contends. Empty: none, as it may not know about what made the difference.
  const std::string& contended_path() const { return contended_path_; }

 private:
  friend class Store;

  // What a read depended on: a node as it was in the snapshot, or that there was none.
  struct Read {
    uint8_t what = 0;           // kReadContent etc.; 0: not read but changed
    bool is_asked_for = false;  // by a request that named it
    bool existed = false;
    uint64_t content_generation = 0;
    uint64_t children_generation = 0;
    bool is_allowed = false;  // some access was: the client knows about the node, or that there is none
    PermsRef perms;           // every read depends on them
  };
  using Accesses = std::map<std::string, Read, std::less<>>;
  using Access = Accesses::value_type;
  // So much is counted for an access and for a change, with its strings: about what they take.
  static constexpr size_t kAccessBytes = 160;
  static constexpr size_t kChangeBytes = 64;

  bool has_view() const { return view_.root != nullptr; }
  void set_view(const Tree& committed, uint64_t generation, uint64_t born);
  void drop_view();

  // The answer to a request depends on `what` of the node at `path`. `is_allowed`: the client has learned more than
  // that it has no right to. False: the subject's quota allows no more.
  bool note_read(std::string_view path, uint8_t what, bool is_allowed, const Subject& subject, const Quota& quota);
  // Whether the quota allows to note the change; then note_change() does when it was made to the view.
  bool may_change(const ChangeRequest& request, const Subject& subject, const Quota& quota);
  void note_change(const ChangeRequest& request, const XsStatus& outcome);

  // Whether everything that was read is the same in `committed`. If not, the transaction is doomed.
  bool reads_hold_in(const Tree& committed, const ReleasedDomains& released);
  // It cannot commit any more; its client contends for `path`.
  void doom(std::string_view path);
  void doom_for(const LoggedChange& change);

  // Of the node that a request is about (`is_asked_for`), or of another one that the answer depends on. nullptr: the
  // quota allows no more.
  Access* access(std::string_view path, bool is_asked_for, const Subject& subject, const Quota& quota);
  bool has_room(size_t bytes, const Subject& subject, const Quota& quota);

  Tree base_;  // none without a view
  Tree view_;
  Effects view_effects_;     // what its changes mean so far: for the quotas of nodes and memory
  uint64_t generation_ = 0;  // the store's, when base_ was the committed version
  uint64_t view_born_ = 0;   // displaced_bytes() when base_ was the committed version
  bool has_exceeded_quota_ = false;

  Accesses accessed_;
  size_t asked_for_ = 0;
  std::vector<LoggedChange> changes_;
  size_t bytes_ = 0;
  bool is_doomed_ = false;
  std::string contended_path_;

  uint64_t ticket_ = 0;
  std::unique_ptr<Turn> turn_;  // covers paths of accessed_, hence destroyed before
};

}  // namespace xenopolis::xenstore
