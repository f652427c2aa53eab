// Nodes of the store and the ordered set of a node's children: persistent, that is, a copy of the root is a snapshot.
//
// Sharing: whoever holds a NodeRef sees a tree that never changes under it. An edit walks down from its own root and
// copies what somebody else refers to as well; what only this root refers to is changed in place. So without open
// transactions a write copies nothing, and with them it copies the path to what it changes: the children are a treap,
// of which a change touches O(log children) nodes.
#pragma once

#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "xenstore/perms.h"
#include "xenstore/text.h"

namespace xenopolis::xenstore {

struct Node;
using NodeRef = boost::intrusive_ptr<Node>;

// Children ordered by name.
class Children {
 public:
  const Node* find(std::string_view name) const;
  // In the order of names: the first child, and the first after `name`, which need not exist; nullptr if there is none.
  const Node* first() const;
  const Node* next(std::string_view name) const;
  uint32_t count() const;
  // Length of all names with a nul after each: what DIRECTORY answers.
  uint32_t name_bytes() const;

  // Appends names with their nuls, beginning `offset` bytes into the whole list (`offset` <= name_bytes()), as many
  // whole names as fit into `limit` bytes. Costs O(log count) plus what it appends.
  void append_names(std::string& out, uint32_t offset, size_t limit) const;

  // In order. Recursion is as deep as the treap: O(log count) on average.
  template <class Visitor>
  void for_each(Visitor&& visit) const {
    visit_in_order(root_.get(), visit);
  }

  // For the edit of a tree: `this` must belong to a node that edit() or editable() made the caller's own.
  Node* edit(std::string_view name);  // the child, now the caller's own; nullptr if there is none
  Node* insert(NodeRef child);        // no child of that name may exist
  NodeRef erase(std::string_view name);

 private:
  template <class Visitor>
  static void visit_in_order(const Node* at, Visitor& visit);

  NodeRef root_;
};

// Counted without atomics: the store belongs to one thread.
struct Node : boost::intrusive_ref_counter<Node, boost::thread_unsafe_counter> {
  Node(std::string_view the_name, PermsRef the_perms, uint64_t generation);

  Text name;
  Text value;
  PermsRef perms;
  uint64_t content_generation;   // when value or perms changed last
  uint64_t children_generation;  // when a child came or went last
  Children children;

  // The place in the treap of the parent's children.
  uint32_t priority;
  uint32_t subtree_count = 1;
  uint32_t subtree_name_bytes;
  NodeRef left;
  NodeRef right;
};

// Makes what `ref` refers to the caller's own, by copying it if others refer to it as well.
Node& editable(NodeRef& ref);

// Counts bytes of nodes: of those copied because somebody else holds an older version, and of those reported. So much,
// at most, is kept alive by a version since it was the current one. Of the calling thread.
uint64_t displaced_bytes();
void report_displaced(const Node& node);

template <class Visitor>
void Children::visit_in_order(const Node* at, Visitor& visit) {
  for (; at != nullptr; at = at->right.get()) {
    visit_in_order(at->left.get(), visit);
    visit(*at);
  }
}

}  // namespace xenopolis::xenstore
