#include "xenstore/tree_walk.h"

namespace xenopolis::xenstore {

const Node* TreeWalk::next() {
  if (is_over_) return nullptr;
  const Node* found = nullptr;
  if (line_.empty()) {
    found = snapshot_.root.get();
  } else {
    found = line_.back()->children.first();
    // Bounded by the depth; every node is left once, so a whole walk climbs as often as it descends.
    while (found == nullptr && line_.size() > 1) {
      const Node* left = line_.back();
      line_.pop_back();
      path_.resize(path_.size() - left->name.size() - 1);
      found = line_.back()->children.next(left->name);
    }
    if (found != nullptr) path_.append("/").append(found->name);
  }
  if (found == nullptr) {
    is_over_ = true;
    line_.clear();
    path_.clear();
    snapshot_.root = nullptr;
    return nullptr;
  }
  line_.push_back(found);
  return found;
}

}  // namespace xenopolis::xenstore
