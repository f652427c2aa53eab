#include "xenstore/transaction.h"

namespace xenopolis::xenstore {

void Transaction::contend(std::unique_ptr<Turn> turn, uint64_t ticket) {
  turn_ = std::move(turn);
  ticket_ = ticket;
}

void Transaction::set_view(const Tree& committed, uint64_t generation, uint64_t born) {
  generation_ = generation;
  base_ = committed;
  view_ = committed;
  view_effects_ = {};
  view_born_ = born;
}

void Transaction::drop_view() {
  unlink();
  base_.root = nullptr;
  view_.root = nullptr;
  view_effects_ = {};
}

bool Transaction::has_room(size_t bytes, const Subject& subject, const Quota& quota) {
  if (!subject.is_privileged() && exceeds(quota.bytes_per_transaction, bytes_ + bytes)) {
    has_exceeded_quota_ = true;
    return false;
  }
  bytes_ += bytes;
  return true;
}

// The accesses to one node count once, as with xenstored ("transaction-nodes").
Transaction::Access* Transaction::access(std::string_view path, bool is_asked_for, const Subject& subject,
                                         const Quota& quota) {
  auto known = accessed_.find(path);
  const bool is_one_more = is_asked_for && (known == accessed_.end() || !known->second.is_asked_for);
  if (is_one_more && !subject.is_privileged() && exceeds(quota.nodes_per_transaction, asked_for_ + 1)) {
    has_exceeded_quota_ = true;
    return nullptr;
  }
  if (known == accessed_.end()) {
    if (!has_room(kAccessBytes + path.size(), subject, quota)) return nullptr;
    known = accessed_.emplace(std::string(path), Read{}).first;
  }
  if (is_one_more) {
    known->second.is_asked_for = true;
    ++asked_for_;
  }
  return &*known;
}

bool Transaction::note_read(std::string_view path, uint8_t what, bool is_allowed, const Subject& subject,
                            const Quota& quota) {
  if (is_doomed_) return true;
  // Also of a node that is missing, where the answer depends on others.
  bool has_room_for_all = access(path, true, subject, quota) != nullptr;
  const auto depend_on = [&](std::string_view on, const Node* found, uint8_t of_it) {
    Access* accessed = access(on, on == path, subject, quota);
    if (accessed == nullptr) {
      has_room_for_all = false;
      return;
    }
    Read& read = accessed->second;
    read.what |= of_it;
    read.existed = found != nullptr;
    if (found != nullptr) {
      read.content_generation = found->content_generation;
      read.children_generation = found->children_generation;
      read.perms = found->perms;
    }
    // Nobody must wait for those who have no right to what they ask for.
    read.is_allowed |= is_allowed;
    if (turn_ && is_allowed) turn_->protect(accessed->first, of_it);
  };
  const Place place = base_.find(path);
  if (place.node != nullptr) {
    depend_on(path, place.node, what);
  } else {
    // Which error an absent node means depends on its nearest ancestor, and on the next name below that not coming into
    // being.
    depend_on(place.nearest_path(path), place.nearest, kReadPerms);
    depend_on(place.first_missing_path(path), nullptr, kReadPerms);
  }
  // Where the view differs from the snapshot, the transaction's own changes may have let rights come down from any node
  // on the way.
  if (view_.find(path).nearest != place.nearest) {
    std::string_view above = place.nearest_path(path);
    for (; above.size() > 1; above = parent_path(above)) depend_on(above, base_.find(above).node, kReadPerms);
    depend_on(above, base_.root.get(), kReadPerms);
  }
  return has_room_for_all;
}

bool Transaction::may_change(const ChangeRequest& request, const Subject& subject, const Quota& quota) {
  return access(request.path, true, subject, quota) != nullptr &&
         has_room(kChangeBytes + request.value.size(), subject, quota);
}

void Transaction::note_change(const ChangeRequest& request, const XsStatus& outcome) {
  const std::string& path = accessed_.find(request.path)->first;
  std::optional<XsError> refused;
  if (!outcome) refused = outcome.error();
  // What is written again and again takes the space of one change.
  if (request.kind == ChangeKind::kWrite && !refused && !changes_.empty()) {
    LoggedChange& last = changes_.back();
    if (last.kind == ChangeKind::kWrite && last.path == path && !last.refused) {
      bytes_ -= kChangeBytes + last.value.size();
      last.value = request.value;
      return;
    }
  }
  if (turn_ && refused && *refused != XsError::kAcces) turn_->protect(path, kReadContent);
  changes_.push_back({request.kind, path, std::string(request.value), request.perms, refused});
}

bool Transaction::reads_hold_in(const Tree& committed, const ReleasedDomains& released) {
  if (is_doomed_) return false;
  if (committed.root == base_.root && !released.any_since(generation_)) return true;
  const auto is_same = [&](const Read& read, const Node* found) {
    if ((found != nullptr) != read.existed) return false;
    if (found == nullptr) return true;
    // Rights that are the same object are the same rights, but mean less when a domain goes.
    return found->perms == read.perms && !released.any_since(generation_, *read.perms) &&
           ((read.what & kReadContent) == 0 || found->content_generation == read.content_generation) &&
           ((read.what & kReadChildren) == 0 || found->children_generation == read.children_generation);
  };
  // Bounded by what the transaction read.
  for (const auto& [path, read] : accessed_) {
    if (read.what == 0 || is_same(read, committed.find(path).node)) continue;
    doom(read.is_allowed ? std::string_view(path) : std::string_view());
    return false;
  }
  return true;
}

void Transaction::doom_for(const LoggedChange& change) {
  doom(change.refused == XsError::kAcces ? std::string_view() : change.path);
}

void Transaction::doom(std::string_view path) {
  if (std::exchange(is_doomed_, true)) return;
  contended_path_ = path;
  turn_.reset();
}

}  // namespace xenopolis::xenstore
