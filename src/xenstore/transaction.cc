#include "xenstore/transaction.h"

namespace xenopolis::xenstore {

bool Transaction::has_room(size_t bytes, const Subject& subject, const Quota& quota) {
  if (!subject.is_privileged() && (exceeds(quota.nodes_per_transaction, reads_.size() + changes_.size() + 1) ||
                                   exceeds(quota.bytes_per_transaction, bytes_ + bytes))) {
    return false;
  }
  bytes_ += bytes;
  return true;
}

void Transaction::depend_on(std::string_view path, const Node* node, uint8_t what) {
  auto known = reads_.find(path);
  if (known == reads_.end()) {
    known = reads_.emplace(std::string(path), Read{}).first;
    bytes_ += path.size();
  }
  Read& read = known->second;
  read.what |= what;
  read.existed = node != nullptr;
  if (node != nullptr) {
    read.content_generation = node->content_generation;
    read.children_generation = node->children_generation;
    read.perms = node->perms;
  }
}

bool Transaction::note_read(std::string_view path, uint8_t what, const Subject& subject, const Quota& quota) {
  if (!has_room(0, subject, quota)) return false;
  const Place place = base_.find(path);
  if (place.node != nullptr) {
    depend_on(path, place.node, what);
  } else {
    // Which error an absent node means depends on its nearest ancestor, and on the next name below that not coming into
    // being.
    depend_on(path.substr(0, place.nearest_length), place.nearest, kReadPerms);
    const size_t absent_end = path.find('/', place.nearest_length == 1 ? 1 : place.nearest_length + 1);
    depend_on(path.substr(0, absent_end), nullptr, kReadPerms);
  }
  // Where the view differs from the snapshot, the transaction's own changes may have let rights come down from any node
  // on the way.
  if (view_.find(path).nearest != place.nearest) {
    std::string_view above = path.substr(0, place.nearest_length);
    for (; above.size() > 1; above = parent_path(above)) depend_on(above, base_.find(above).node, kReadPerms);
    depend_on(above, base_.root.get(), kReadPerms);
  }
  return true;
}

bool Transaction::note_change(const ChangeRequest& request, const Subject& subject, const Quota& quota) {
  if (!has_room(request.path.size() + request.value.size(), subject, quota)) return false;
  changes_.push_back({request.kind, std::string(request.path), std::string(request.value), request.perms});
  return true;
}

bool Transaction::reads_hold_in(const Tree& committed) const {
  if (committed.root == base_.root) return true;
  // Bounded by what the transaction read.
  for (const auto& [path, read] : reads_) {
    const Node* node = committed.find(path).node;
    if ((node != nullptr) != read.existed) return false;
    if (node == nullptr) continue;
    // Rights are new objects whenever somebody says some.
    if (node->perms != read.perms) return false;
    if ((read.what & kReadContent) != 0 && node->content_generation != read.content_generation) return false;
    if ((read.what & kReadChildren) != 0 && node->children_generation != read.children_generation) return false;
  }
  return true;
}

}  // namespace xenopolis::xenstore
