#include "xenstore/transaction.h"

namespace xenopolis::xenstore {

bool Transaction::has_room(size_t bytes, const Subject& subject, const Quota& quota) {
  if (!subject.is_privileged() && (reads_.size() + changes_.size() >= quota.nodes_per_transaction ||
                                   bytes_ + bytes > quota.bytes_per_transaction)) {
    return false;
  }
  bytes_ += bytes;
  return true;
}

void Transaction::depend_on(std::string_view path, const Node* node, uint8_t what) {
  const auto known = reads_.find(path);
  Read& read = known != reads_.end() ? known->second : reads_.emplace(std::string(path), Read{}).first->second;
  read.what |= what;
  read.existed = node != nullptr;
  if (node != nullptr) {
    read.content_generation = node->content_generation;
    read.children_generation = node->children_generation;
  }
}

bool Transaction::note_read(std::string_view path, uint8_t what, const Subject& subject, const Quota& quota) {
  if (!has_room(2 * path.size(), subject, quota)) return false;
  const Place place = base_.find(path);
  if (place.node != nullptr) {
    depend_on(path, place.node, what);
    return true;
  }
  // Which error an absent node means, and the rights of one that the transaction itself made there, depend on its
  // nearest ancestor, and on the next name below that not coming into being.
  depend_on(path.substr(0, place.nearest_length), place.nearest, kReadContent);
  const size_t absent_end = path.find('/', place.nearest_length == 1 ? 1 : place.nearest_length + 1);
  depend_on(path.substr(0, absent_end), nullptr, kReadContent);
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
    if ((read.what & kReadContent) != 0 && node->content_generation != read.content_generation) return false;
    if ((read.what & kReadChildren) != 0 && node->children_generation != read.children_generation) return false;
  }
  return true;
}

}  // namespace xenopolis::xenstore
