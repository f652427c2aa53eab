#include "xenstore/store.h"

#include <utility>

#include "base/check.h"
#include "xenstore/transaction.h"

namespace xenopolis::xenstore {
namespace {

const Subject kStoreItself{kDom0, std::nullopt};

}  // namespace

Store::Store(const Quota& quota) : quotas_(quota) {
  committed_.root = new Node("", new Perms({{kDom0, kAccessNone}}, generation_), generation_);
  std::vector<Change> unwatched;
  CHECK(change({ChangeKind::kMakeDirectory, "/tool/xenstored", {}, nullptr}, kStoreItself, nullptr, unwatched));
}

XsResult<const Node*> Store::read(std::string_view path, uint8_t what, const Subject& subject,
                                  Transaction* transaction) {
  if (transaction != nullptr && !transaction->note_read(path, what, subject, quotas_.of(subject.domid))) {
    return xs_fail(XsError::kNoSpc);
  }
  const Tree& tree = transaction != nullptr ? transaction->view() : committed_;
  return node_with_access(tree.find(path), kAccessRead, subject, released_);
}

XsStatus Store::change(const ChangeRequest& request, const Subject& subject, Transaction* transaction,
                       std::vector<Change>& changes) {
  const Holding owned = held_by(subject.domid);
  if (transaction == nullptr) {
    Effects effects;
    TRY_VOID(TreeEdit(committed_, effects, generation_, subject, released_, quotas_.of(subject.domid), owned)
                 .apply(request));
    take_effects(effects, changes);
    return {};
  }
  if (!transaction->note_change(request, subject, quotas_.of(subject.domid))) return xs_fail(XsError::kNoSpc);
  Effects& effects = transaction->view_effects();
  const XsStatus applied =
      TreeEdit(transaction->view(), effects, generation_, subject, released_, quotas_.of(subject.domid), owned)
          .apply(request);
  effects.changes.clear();
  effects.boundaries.clear();
  if (!applied) {
    transaction->forget_last_change();
    // A refusal told the client something about the store: it depends on that as on a read.
    if (!transaction->note_read(request.path, kReadContent, subject, quotas_.of(subject.domid)))
      return xs_fail(XsError::kNoSpc);
  }
  return applied;
}

XsStatus Store::commit(const Transaction& transaction, const Subject& subject, std::vector<Change>& changes) {
  if (!transaction.reads_hold_in(committed_)) return xs_fail(XsError::kAgain);
  Tree next = committed_;
  Effects effects;
  TreeEdit edit(next, effects, generation_, subject, released_, quotas_.of(subject.domid), held_by(subject.domid));
  for (const Transaction::LoggedChange& logged : transaction.changes()) {
    if (!edit.apply({logged.kind, logged.path, logged.value, logged.perms})) return xs_fail(XsError::kAgain);
  }
  committed_ = std::move(next);
  take_effects(effects, changes);
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
