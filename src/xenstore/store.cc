#include "xenstore/store.h"

#include <utility>

#include "base/check.h"

namespace xenopolis::xenstore {
namespace {

const Subject kStoreItself{kDom0, std::nullopt};
constexpr unsigned kViewsDroppedAtOnce = 16;

}  // namespace

Store::Store(const Quota& quota) : quotas_(quota) {
  committed_.root = new Node("", new Perms({{kDom0, kAccessNone}}, generation_), generation_);
  std::vector<Change> unwatched;
  CHECK(change({ChangeKind::kMakeDirectory, "/tool/xenstored", {}, nullptr}, kStoreItself, nullptr, unwatched));
}

std::unique_ptr<Transaction> Store::begin() {
  auto transaction = std::make_unique<Transaction>();
  transaction->set_view(committed_, generation_, displaced_bytes());
  views_.push_back(*transaction);
  return transaction;
}

std::unique_ptr<Transaction> Store::begin_lost() {
  auto transaction = begin();
  transaction->doom({});  // its client contends for nothing
  return transaction;
}

void Store::renew_view(Transaction& transaction, const Subject& subject) {
  if (transaction.has_view()) return;
  (void)transaction.reads_hold_in(committed_, released_);
  transaction.set_view(committed_, generation_, displaced_bytes());
  views_.push_back(transaction);
  TreeEdit edit(transaction.view_, transaction.view_effects_, generation_, subject, released_,
                quotas_.of(subject.domid), held_by(subject.domid));
  // Bounded by what the transaction did, and not done again before so much is displaced as may be kept.
  for (const Transaction::LoggedChange& logged : transaction.changes_) {
    if (!can_redo(edit, logged)) transaction.doom_for(logged);
  }
  transaction.view_effects_.changes.clear();
  transaction.view_effects_.boundaries.clear();
}

void Store::drop_old_views() {
  // Mostly none; one version may have many, which need no more memory than one: they may go one after the other.
  for (unsigned i = 0; i < kViewsDroppedAtOnce && !views_.empty(); ++i) {
    if (displaced_bytes() - views_.front().view_born_ <= old_node_bytes_max_) return;
    views_.front().drop_view();
  }
}

XsResult<const Node*> Store::read(std::string_view path, uint8_t what, const Subject& subject,
                                  Transaction* transaction) {
  if (transaction == nullptr) return node_with_access(committed_.find(path), kAccessRead, subject, released_);
  renew_view(*transaction, subject);
  const auto found = node_with_access(transaction->view_.find(path), kAccessRead, subject, released_);
  const bool is_allowed = found || found.error() != XsError::kAcces;
  if (!transaction->note_read(path, is_allowed ? what : kReadPerms, is_allowed, subject, quotas_.of(subject.domid))) {
    return xs_fail(XsError::kNoSpc);
  }
  return found;
}

XsStatus Store::change(const ChangeRequest& request, const Subject& subject, Transaction* transaction,
                       std::vector<Change>& changes) {
  const XsStatus changed = transaction != nullptr ? change_view(request, subject, *transaction)
                                                  : change_committed(request, subject, changes);
  drop_old_views();
  return changed;
}

XsStatus Store::change_committed(const ChangeRequest& request, const Subject& subject, std::vector<Change>& changes) {
  Effects effects;
  TRY_VOID(
      TreeEdit(committed_, effects, generation_, subject, released_, quotas_.of(subject.domid), held_by(subject.domid))
          .apply(request));
  take_effects(effects, changes);
  return {};
}

XsStatus Store::change_view(const ChangeRequest& request, const Subject& subject, Transaction& transaction) {
  const Quota& quota = quotas_.of(subject.domid);
  renew_view(transaction, subject);
  if (!transaction.may_change(request, subject, quota)) return xs_fail(XsError::kNoSpc);
  Effects& effects = transaction.view_effects_;
  const XsStatus applied =
      TreeEdit(transaction.view_, effects, generation_, subject, released_, quota, held_by(subject.domid))
          .apply(request);
  effects.changes.clear();
  effects.boundaries.clear();
  transaction.note_change(request, applied);
  return applied;
}

// Rights that name a domain which has gone since would not mean what they meant: the client must say them again.
bool Store::can_redo(TreeEdit& edit, const Transaction::LoggedChange& logged) const {
  if (logged.perms && released_.any_since(logged.perms->generation, *logged.perms)) return false;
  const XsStatus outcome = edit.apply({logged.kind, logged.path, logged.value, logged.perms});
  return outcome ? !logged.refused : outcome.error() == logged.refused;
}

XsStatus Store::commit(Transaction& transaction, const Subject& subject, std::vector<Change>& changes) {
  if (transaction.has_exceeded_quota_) return xs_fail(XsError::kNoMem);
  if (!transaction.reads_hold_in(committed_, released_)) return xs_fail(XsError::kAgain);
  Tree next = committed_;
  Effects effects;
  TreeEdit edit(next, effects, generation_, subject, released_, quotas_.of(subject.domid), held_by(subject.domid));
  for (const Transaction::LoggedChange& logged : transaction.changes()) {
    if (!can_redo(edit, logged)) {
      transaction.doom_for(logged);
      return xs_fail(XsError::kAgain);
    }
  }
  committed_ = std::move(next);
  take_effects(effects, changes);
  drop_old_views();
  return {};
}

void Store::take_effects(Effects& effects, std::vector<Change>& changes) {
  for (const Holding& more : effects.holdings) {
    Owned& owned = owned_[more.owner];
    owned.nodes += more.nodes;
    owned.bytes += more.bytes;
  }
  for (OwnershipBoundary& boundary : effects.boundaries) {
    auto& boundaries = owned_[boundary.owner].boundaries;
    if (boundary.appeared) {
      boundaries.insert(std::move(boundary.path));
    } else {
      boundaries.erase(boundary.path);
    }
  }
  for (const Holding& more : effects.holdings) {
    const auto owned = owned_.find(more.owner);
    if (owned != owned_.end() && owned->second.nodes == 0) owned_.erase(owned);
  }
  if (changes.empty()) {
    changes = std::move(effects.changes);
  } else {
    std::move(effects.changes.begin(), effects.changes.end(), std::back_inserter(changes));
  }
}

Holding Store::held_by(DomId domid) const {
  const auto owned = owned_.find(domid);
  if (owned == owned_.end()) return {domid, 0, 0};
  return {domid, owned->second.nodes, owned->second.bytes};
}

void Store::release_domain(DomId domid, std::vector<Change>& changes) {
  released_.release(domid, ++generation_);
  // Every round takes one boundary away.
  for (auto owned = owned_.find(domid); owned != owned_.end() && !owned->second.boundaries.empty();
       owned = owned_.find(domid)) {
    const std::string path = std::move(owned->second.boundaries.extract(owned->second.boundaries.begin()).value());
    if (path == "/") {
      // The root stays: Dom0 gets it back.
      const auto given_back =
          change({ChangeKind::kSetPerms, path, {}, make_perms({{kDom0, kAccessNone}})}, kStoreItself, nullptr, changes);
      CHECK(given_back);
      continue;
    }
    CHECK(change({ChangeKind::kRemove, path, {}, nullptr}, kStoreItself, nullptr, changes));
  }
}

}  // namespace xenopolis::xenstore
