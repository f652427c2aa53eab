// A walk over one version of the store that can stop after any node and go on later, while the store changes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "xenstore/tree.h"

namespace xenopolis::xenstore {

// Every node once: parents before their children, siblings by name. Its state is the path from the root to where it
// stands. It holds the version that it walks over, which makes writers copy what they change: do not keep it for long.
class TreeWalk {
 public:
  explicit TreeWalk(Tree snapshot) : snapshot_(std::move(snapshot)) {}

  // The next node, the root first; nullptr after the last. Costs O(log siblings), and climbing up what it went down.
  // Valid as long as the walk.
  const Node* next();
  // Where the node is that next() gave last.
  std::string_view path() const { return path_.empty() ? std::string_view("/") : std::string_view(path_); }

 private:
  Tree snapshot_;
  std::vector<const Node*> line_;  // from the root to the last node given; empty before the first
  std::string path_;
  bool is_over_ = false;
};

}  // namespace xenopolis::xenstore
