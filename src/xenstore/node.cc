#include "xenstore/node.h"

#include <functional>
#include <random>
#include <utility>

#include "base/check.h"
#include "xenstore/work.h"

namespace xenopolis::xenstore {
namespace {

thread_local uint64_t displaced = 0;

// Priorities come from the name, so a set of children has one shape whatever its history; the seed keeps a guest from
// choosing names that make it a list.
uint32_t priority_of(std::string_view name) {
  static const uint64_t seed = std::random_device()();
  uint64_t mixed = (std::hash<std::string_view>()(name) ^ seed) * 0x9e3779b97f4a7c15u;
  return static_cast<uint32_t>(mixed >> 32);
}

uint32_t count_of(const NodeRef& node) {
  return node ? node->subtree_count : 0;
}
uint32_t name_bytes_of(const NodeRef& node) {
  return node ? node->subtree_name_bytes : 0;
}
uint32_t own_name_bytes(const Node& node) {
  return static_cast<uint32_t>(node.name.size()) + 1;
}

void sum_up(Node& node) {
  node.subtree_count = 1 + count_of(node.left) + count_of(node.right);
  node.subtree_name_bytes = own_name_bytes(node) + name_bytes_of(node.left) + name_bytes_of(node.right);
}

// Everything before `name` goes to `before`, the rest to `after`.
void split(NodeRef tree, std::string_view name, NodeRef& before, NodeRef& after) {
  if (!tree) {
    before = nullptr;
    after = nullptr;
    return;
  }
  Node& node = editable(tree);
  if (node.name < name) {
    NodeRef rest = std::move(node.right);
    split(std::move(rest), name, node.right, after);
    sum_up(node);
    before = std::move(tree);
  } else {
    NodeRef rest = std::move(node.left);
    split(std::move(rest), name, before, node.left);
    sum_up(node);
    after = std::move(tree);
  }
}

// Every name of `before` is less than every name of `after`.
NodeRef merge(NodeRef before, NodeRef after) {
  if (!before) return after;
  if (!after) return before;
  if (before->priority > after->priority) {
    Node& node = editable(before);
    node.right = merge(std::move(node.right), std::move(after));
    sum_up(node);
    return before;
  }
  Node& node = editable(after);
  node.left = merge(std::move(before), std::move(node.left));
  sum_up(node);
  return after;
}

void insert_into(NodeRef& tree, NodeRef child) {
  if (!tree) {
    tree = std::move(child);
    return;
  }
  if (child->priority > tree->priority) {
    split(std::move(tree), child->name, child->left, child->right);
    sum_up(*child);
    tree = std::move(child);
    return;
  }
  Node& node = editable(tree);
  NodeRef& side = child->name < node.name ? node.left : node.right;
  insert_into(side, std::move(child));
  sum_up(node);
}

NodeRef erase_from(NodeRef& tree, std::string_view name) {
  if (tree->name == name) {
    NodeRef erased = std::move(tree);
    const bool own = erased->use_count() == 1;
    NodeRef left = own ? std::move(erased->left) : erased->left;
    NodeRef right = own ? std::move(erased->right) : erased->right;
    tree = merge(std::move(left), std::move(right));
    return erased;
  }
  Node& node = editable(tree);
  NodeRef erased = erase_from(name < node.name ? node.left : node.right, name);
  sum_up(node);
  return erased;
}

// Appends from `offset` bytes into the names of `tree`; false when the next name does not fit.
bool append_from(const Node* tree, uint32_t offset, size_t end, std::string& out) {
  while (tree != nullptr) {
    const uint32_t left_bytes = name_bytes_of(tree->left);
    if (offset < left_bytes && !append_from(tree->left.get(), offset, end, out)) return false;
    offset = offset < left_bytes ? 0 : offset - left_bytes;
    const uint32_t own_bytes = own_name_bytes(*tree);
    if (offset < own_bytes) {
      if (out.size() + own_bytes - offset > end) return false;
      out.append(tree->name.view().substr(offset)).push_back('\0');
      offset = 0;
    } else {
      offset -= own_bytes;
    }
    tree = tree->right.get();
  }
  return true;
}

}  // namespace

Node::Node(std::string_view the_name, PermsRef the_perms, uint64_t generation)
    : name(the_name),
      perms(std::move(the_perms)),
      content_generation(generation),
      children_generation(generation),
      priority(priority_of(the_name)),
      subtree_name_bytes(static_cast<uint32_t>(the_name.size()) + 1) {}

Node& editable(NodeRef& ref) {
  if (ref->use_count() > 1) {
    report_displaced(*ref);
    count_work(1);
    count_bytes(ref->value.size());
    ref = new Node(*ref);
  }
  return *ref;
}

uint64_t displaced_bytes() {
  return displaced;
}

void report_displaced(const Node& node) {
  displaced += sizeof(Node) + node.name.size() + node.value.size();
}

const Node* Children::find(std::string_view name) const {
  const Node* at = root_.get();
  while (at != nullptr) {
    const int order = name.compare(at->name.view());
    if (order == 0) return at;
    at = order < 0 ? at->left.get() : at->right.get();
  }
  return nullptr;
}

const Node* Children::first() const {
  const Node* at = root_.get();
  while (at != nullptr && at->left) at = at->left.get();
  return at;
}

const Node* Children::next(std::string_view name) const {
  const Node* best = nullptr;
  for (const Node* at = root_.get(); at != nullptr;) {
    if (at->name > name) {
      best = at;
      at = at->left.get();
    } else {
      at = at->right.get();
    }
  }
  return best;
}

uint32_t Children::count() const {
  return count_of(root_);
}
uint32_t Children::name_bytes() const {
  return name_bytes_of(root_);
}

void Children::append_names(std::string& out, uint32_t offset, size_t limit) const {
  append_from(root_.get(), offset, out.size() + limit, out);
}

Node* Children::edit(std::string_view name) {
  if (find(name) == nullptr) return nullptr;
  NodeRef* at = &root_;
  for (;;) {
    Node& node = editable(*at);
    const int order = name.compare(node.name.view());
    if (order == 0) return &node;
    at = order < 0 ? &node.left : &node.right;
  }
}

Node* Children::insert(NodeRef child) {
  CHECK(find(child->name) == nullptr);
  Node* inserted = child.get();
  insert_into(root_, std::move(child));
  return inserted;
}

NodeRef Children::erase(std::string_view name) {
  if (find(name) == nullptr) return nullptr;
  return erase_from(root_, name);
}

}  // namespace xenopolis::xenstore
