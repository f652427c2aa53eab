// A version of the store, and the changes that requests make to one.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "xenstore/error.h"
#include "xenstore/node.h"
#include "xenstore/path.h"
#include "xenstore/perms.h"
#include "xenstore/quota.h"

namespace xenopolis::xenstore {

// What a read looks at: bits.
inline constexpr uint8_t kReadContent = 1;   // value and rights
inline constexpr uint8_t kReadChildren = 2;  // the names of the children, and rights
inline constexpr uint8_t kReadPerms = 4;     // rights only

// Where a path leads in one version of the store.
struct Place {
  const Node* node = nullptr;     // nullptr: the path does not exist
  const Node* nearest = nullptr;  // the node, or else its nearest ancestor that exists
  const Node* parent = nullptr;   // the parent if it exists; of the root nullptr
  size_t nearest_length = 0;      // how much of the path leads to `nearest`: 1 for the root

  // The path of `nearest`, and if there is no node the path that ends with the first missing name. `path` is the one
  // that was looked for.
  std::string_view nearest_path(std::string_view path) const { return path.substr(0, nearest_length); }
  std::string_view first_missing_path(std::string_view path) const {
    return path.substr(0, path.find('/', nearest_length == 1 ? 1 : nearest_length + 1));
  }
};

// A copy is a snapshot.
struct Tree {
  NodeRef root;

  Place find(std::string_view path) const;
};

// What somebody did to a node, for watches.
struct Change {
  std::string path;
  PermsRef perms;         // of the node, after a change or before a removal
  PermsRef old_perms;     // before SET_PERMS, else nullptr
  PermsRef parent_perms;  // nullptr for the root
  NodeRef removed;        // the subtree that RM took away, else nullptr
};

// Somebody's node whose parent is somebody else's: where the removal of a dead domain's nodes starts.
struct OwnershipBoundary {
  bool appeared;
  DomId owner;
  std::string path;
};

// Nodes of one owner: how many, and their size for the quota of memory (node_bytes()).
struct Holding {
  DomId owner = kDom0;
  int64_t nodes = 0;
  int64_t bytes = 0;
};

// The size of a node at `path`: its record and its name, which for xenstored is the whole path.
inline int64_t node_bytes(const Node& node, std::string_view path) {
  return static_cast<int64_t>(entry_bytes(node.perms->entries.size(), node.value.size(), node.children.name_bytes()) +
                              path.size());
}

// What changes to a tree mean outside of it.
struct Effects {
  std::vector<Change> changes;
  std::vector<OwnershipBoundary> boundaries;
  std::vector<Holding> holdings;  // more or less, by owner; few owners, hence a list

  void count(DomId owner, int32_t nodes, int64_t bytes);
  Holding counted(DomId owner) const;
};

enum class ChangeKind : uint8_t { kWrite, kMakeDirectory, kRemove, kSetPerms };

struct ChangeRequest {
  ChangeKind kind;
  std::string_view path;   // valid and absolute
  std::string_view value;  // kWrite
  PermsRef perms;          // kSetPerms
};

// One change to one tree. Refused changes leave tree and effects as they were.
class TreeEdit {
 public:
  // `owned`: what the subject owns outside of `effects`. `generation`: the store's counter, moved on here.
  TreeEdit(Tree& tree, Effects& effects, uint64_t& generation, const Subject& subject, const ReleasedDomains& released,
           const Quota& quota, const Holding& owned)
      : tree_(tree),
        effects_(effects),
        generation_(generation),
        subject_(subject),
        released_(released),
        quota_(quota),
        owned_(owned) {}

  XsStatus apply(const ChangeRequest& request);

 private:
  XsStatus write(std::string_view path, std::string_view value);
  XsStatus make_directory(std::string_view path);
  XsStatus create(const Place& place, std::string_view path, std::string_view value);
  XsStatus remove(std::string_view path);
  XsStatus set_perms(std::string_view path, PermsRef perms);

  Node& edit(std::string_view path);  // which exists
  PermsRef inherited_perms(const Perms& parent);
  bool exceeds_entry_quota(size_t perms, size_t value_bytes, size_t name_bytes) const;
  // Whether `owner` is the subject and would have too much with so many bytes more.
  bool exceeds_memory_quota(DomId owner, int64_t more) const;
  void forget_owners_below(const Node& node, DomId parent_owner, std::string& path);

  Tree& tree_;
  Effects& effects_;
  uint64_t& generation_;
  const Subject& subject_;
  const ReleasedDomains& released_;
  const Quota& quota_;
  const Holding owned_;
};

// The node at a path, if the subject has all bits of `access` to it. Otherwise kAcces; or kNoEnt, which only those
// learn who have such access to the nearest ancestor.
XsResult<const Node*> node_with_access(const Place& place, uint8_t access, const Subject& subject,
                                       const ReleasedDomains& released);

}  // namespace xenopolis::xenstore
