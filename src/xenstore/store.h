// The committed version of the store, and what is known about the domains that own its nodes.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "xenstore/transaction.h"
#include "xenstore/tree.h"

namespace xenopolis::xenstore {

// So many bytes of nodes that are no longer in the committed version, or only in views, are kept for transactions, and
// what the last change displaced.
inline constexpr uint64_t kOldNodeBytesMax = 8 << 20;

// Belongs to one thread.
class Store {
 public:
  explicit Store(const Quota& quota = {});

  const Tree& committed() const { return committed_; }
  QuotaTable& quotas() { return quotas_; }
  const QuotaTable& quotas() const { return quotas_; }
  const ReleasedDomains& released() const { return released_; }

  // Another limit than kOldNodeBytesMax.
  void keep_old_nodes(uint64_t bytes_max) { old_node_bytes_max_ = bytes_max; }

  // A new transaction on the committed version.
  std::unique_ptr<Transaction> begin();
  // One that cannot commit: what it had done is lost.
  std::unique_ptr<Transaction> begin_lost();

  // The node at `path` (valid, absolute) for reading, in the transaction's view if there is one, which remembers what
  // was read. kAcces, kNoEnt; kNoSpc when the transaction has grown too large.
  XsResult<const Node*> read(std::string_view path, uint8_t what, const Subject& subject, Transaction* transaction);

  // Changes the committed version and says what watches must know; in a transaction only its view, and nothing.
  XsStatus change(const ChangeRequest& request, const Subject& subject, Transaction* transaction,
                  std::vector<Change>& changes);

  // All changes of the transaction or, with kAgain (Transaction::contended_path() says why) or kNoMem (it had exceeded
  // a quota), none of them.
  XsStatus commit(Transaction& transaction, const Subject& subject, std::vector<Change>& changes);

  // Rights for a later kSetPerms, said now.
  PermsRef make_perms(std::vector<PermEntry> entries) {
    return perms_cache_.make(std::move(entries), generation_, released_);
  }

  // Domain `domid` is gone: removes the nodes that it owns, with all below them, at a cost of what these are (XSA-419:
  // else the next domain of that number would own them), and makes rights that others gave it void (XSA-322).
  void release_domain(DomId domid, std::vector<Change>& changes);

  uint32_t nodes_owned_by(DomId domid) const { return static_cast<uint32_t>(held_by(domid).nodes); }
  Holding held_by(DomId domid) const;

  struct Owned {
    int64_t nodes = 0;
    int64_t bytes = 0;
    std::unordered_set<std::string> boundaries;  // at most `nodes` of them
  };
  // Every domain but Dom0 that owns nodes, in any order.
  const std::unordered_map<DomId, Owned>& owners() const { return owned_; }

 private:
  XsStatus change_committed(const ChangeRequest& request, const Subject& subject, std::vector<Change>& changes);
  XsStatus change_view(const ChangeRequest& request, const Subject& subject, Transaction& transaction);
  // Makes a transaction's change to another version. Whether it comes out as before.
  bool can_redo(TreeEdit& edit, const Transaction::LoggedChange& logged) const;
  // Makes the view that a request of the transaction needs.
  void renew_view(Transaction& transaction, const Subject& subject);
  void drop_old_views();
  void take_effects(Effects& effects, std::vector<Change>& changes);

  QuotaTable quotas_;
  Tree committed_;
  // Transactions that have a view, by the age of their snapshots.
  boost::intrusive::list<Transaction, boost::intrusive::constant_time_size<false>> views_;
  uint64_t old_node_bytes_max_ = kOldNodeBytesMax;
  uint64_t generation_ = 1;  // moves on with every change, also those of views
  std::unordered_map<DomId, Owned> owned_;
  ReleasedDomains released_;
  PermsCache perms_cache_;
};

}  // namespace xenopolis::xenstore
