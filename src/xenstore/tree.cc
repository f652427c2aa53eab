#include "xenstore/tree.h"

#include "base/check.h"
#include "xenstore/work.h"

namespace xenopolis::xenstore {

Place Tree::find(std::string_view path) const {
  Place place;
  place.node = place.nearest = root.get();
  place.nearest_length = 1;
  PathWalk walk(path);
  std::string_view name;
  while (walk.next(name)) {  // bounded by kAbsolutePathMax
    place.parent = place.node;
    place.node = place.node->children.find(name);
    if (place.node == nullptr) {
      if (walk.so_far().size() != path.size()) place.parent = nullptr;
      return place;
    }
    place.nearest = place.node;
    place.nearest_length = walk.so_far().size();
  }
  return place;
}

void Effects::count(DomId owner, int32_t nodes, int64_t bytes) {
  if (owner == kDom0) return;
  for (Holding& holding : holdings) {
    if (holding.owner == owner) {
      holding.nodes += nodes;
      holding.bytes += bytes;
      return;
    }
  }
  holdings.push_back({owner, nodes, bytes});
}

Holding Effects::counted(DomId owner) const {
  for (const Holding& holding : holdings) {
    if (holding.owner == owner) return holding;
  }
  return {owner, 0, 0};
}

XsResult<const Node*> node_with_access(const Place& place, uint8_t access, const Subject& subject,
                                       const ReleasedDomains& released) {
  const uint8_t allowed = access_of(*place.nearest->perms, subject, released);
  if (place.node != nullptr) {
    if ((allowed & access) != access) return xs_fail(XsError::kAcces);
    return place.node;
  }
  return xs_fail((allowed & access) != 0 ? XsError::kNoEnt : XsError::kAcces);
}

XsStatus TreeEdit::apply(const ChangeRequest& request) {
  switch (request.kind) {
    case ChangeKind::kWrite:
      return write(request.path, request.value);
    case ChangeKind::kMakeDirectory:
      return make_directory(request.path);
    case ChangeKind::kRemove:
      return remove(request.path);
    case ChangeKind::kSetPerms:
      return set_perms(request.path, request.perms);
  }
  return xs_fail(XsError::kInval);
}

Node& TreeEdit::edit(std::string_view path) {
  Node* node = &editable(tree_.root);
  PathWalk walk(path);
  std::string_view name;
  while (walk.next(name)) {
    node = node->children.edit(name);
    CHECK(node != nullptr);
  }
  return *node;
}

bool TreeEdit::exceeds_entry_quota(size_t perms, size_t value_bytes, size_t name_bytes) const {
  return !subject_.is_privileged() && quota_.entry_bytes != 0 &&
         entry_bytes(perms, value_bytes, name_bytes) >= quota_.entry_bytes;
}

bool TreeEdit::exceeds_memory_quota(DomId owner, int64_t more) const {
  if (subject_.is_privileged() || owner != subject_.domid || more <= 0) return false;
  return exceeds(quota_.memory, owned_.bytes + effects_.counted(owner).bytes + more);
}

XsStatus TreeEdit::write(std::string_view path, std::string_view value) {
  const Place place = tree_.find(path);
  const auto found = node_with_access(place, kAccessWrite, subject_, released_);
  if (!found && found.error() == XsError::kNoEnt) return create(place, path, value);
  if (!found) return xs_fail(found.error());
  const Node& old = **found;
  if (exceeds_entry_quota(old.perms->entries.size(), value.size(), old.children.name_bytes())) {
    return xs_fail(XsError::kNoSpc);
  }
  const DomId owner = old.perms->owner();
  const int64_t growth = static_cast<int64_t>(value.size()) - static_cast<int64_t>(old.value.size());
  if (exceeds_memory_quota(owner, growth)) return xs_fail(XsError::kNoMem);
  effects_.count(owner, 0, growth);
  PermsRef parent_perms = place.parent != nullptr ? place.parent->perms : nullptr;
  Node& node = edit(path);
  node.value = value;
  node.content_generation = ++generation_;
  effects_.changes.push_back({std::string(path), node.perms, nullptr, std::move(parent_perms), nullptr});
  return {};
}

XsStatus TreeEdit::make_directory(std::string_view path) {
  const Place place = tree_.find(path);
  const auto found = node_with_access(place, kAccessWrite, subject_, released_);
  if (found) return {};
  if (found.error() != XsError::kNoEnt) return xs_fail(found.error());
  return create(place, path, {});
}

// New nodes inherit the rights of their parent, except that an unprivileged domain owns what it creates.
PermsRef TreeEdit::inherited_perms(const Perms& parent) {
  if (subject_.is_privileged() || parent.owner() == subject_.domid) return &parent;
  std::vector<PermEntry> entries;
  entries.push_back({subject_.domid, parent.entries.front().access});
  for (size_t i = 1; i < parent.entries.size(); ++i) {
    if (!released_.outlives(parent, parent.entries[i].domid)) entries.push_back(parent.entries[i]);
  }
  return new Perms(std::move(entries), generation_);
}

XsStatus TreeEdit::create(const Place& place, std::string_view path, std::string_view value) {
  const Node& nearest = *place.nearest;
  const std::string_view missing =
      place.nearest_length == 1 ? path : path.substr(place.nearest_length);  // "/b/c" of "/a/b/c"
  if (!subject_.is_privileged()) {
    uint32_t new_nodes = 0;
    size_t first_name_bytes = 0;
    size_t longest_name_bytes = 0;
    size_t path_bytes = 0;
    PathWalk walk(missing);
    for (std::string_view name; walk.next(name); ++new_nodes) {
      if (new_nodes == 0) first_name_bytes = name.size() + 1;
      longest_name_bytes = std::max(longest_name_bytes, name.size() + 1);
      path_bytes += path.size() - missing.size() + walk.so_far().size();
    }
    const int64_t owned = owned_.nodes + effects_.counted(subject_.domid).nodes;
    const size_t perms = nearest.perms->entries.size();
    if (exceeds(quota_.nodes, owned + new_nodes) ||
        exceeds_entry_quota(perms, nearest.value.size(), nearest.children.name_bytes() + first_name_bytes) ||
        exceeds_entry_quota(perms, 0, longest_name_bytes) || exceeds_entry_quota(perms, value.size(), 0)) {
      return xs_fail(XsError::kNoSpc);
    }
    const size_t growth = new_nodes * entry_bytes(perms, 0, 0) + path_bytes + missing.size() + value.size();
    if (exceeds_memory_quota(subject_.domid, static_cast<int64_t>(growth))) return xs_fail(XsError::kNoMem);
  }

  ++generation_;
  Node* parent = &edit(path.substr(0, place.nearest_length));
  parent->children_generation = generation_;
  PathWalk walk(missing);
  for (std::string_view name; walk.next(name);) {
    const PermsRef perms = inherited_perms(*parent->perms);
    const DomId owner = perms->owner();
    const std::string_view here = path.substr(0, path.size() - missing.size() + walk.so_far().size());
    if (owner != kDom0 && owner != parent->perms->owner()) {
      effects_.boundaries.push_back({true, owner, std::string(here)});
    }
    effects_.count(parent->perms->owner(), 0, static_cast<int64_t>(name.size()) + 1);
    PermsRef parent_perms = parent->perms;
    parent = parent->children.insert(new Node(name, perms, generation_));
    if (here.size() == path.size()) parent->value = value;
    effects_.count(owner, 1, node_bytes(*parent, here));
    if (here.size() == path.size()) {
      effects_.changes.push_back({std::string(path), perms, nullptr, std::move(parent_perms), nullptr});
    }
  }
  return {};
}

// Bounded by the nodes that the removal removes.
void TreeEdit::forget_owners_below(const Node& node, DomId parent_owner, std::string& path) {
  const DomId owner = node.perms->owner();
  count_work(1);
  effects_.count(owner, -1, -node_bytes(node, path));
  if (owner != kDom0 && owner != parent_owner) effects_.boundaries.push_back({false, owner, path});
  node.children.for_each([&](const Node& child) {
    const size_t length = path.size();
    path.append("/").append(child.name);
    forget_owners_below(child, owner, path);
    path.resize(length);
  });
}

XsStatus TreeEdit::remove(std::string_view path) {
  const Place place = tree_.find(path);
  const auto found = node_with_access(place, kAccessWrite, subject_, released_);
  if (!found) {
    // "It is not an error if <path> does not exist, but it is an error if its immediate parent does not exist."
    if (found.error() == XsError::kNoEnt && place.parent != nullptr) return {};
    return xs_fail(found.error());
  }
  if (path.size() == 1) return xs_fail(XsError::kInval);
  Node& parent = edit(parent_path(path));
  const NodeRef removed = parent.children.erase(base_name(path));
  parent.children_generation = ++generation_;
  effects_.count(parent.perms->owner(), 0, -static_cast<int64_t>(removed->name.size()) - 1);
  std::string walked(path);
  forget_owners_below(*removed, parent.perms->owner(), walked);
  effects_.changes.push_back({std::string(path), removed->perms, nullptr, parent.perms, removed});
  return {};
}

XsStatus TreeEdit::set_perms(std::string_view path, PermsRef perms) {
  const Place place = tree_.find(path);
  const Node* old = TRY(node_with_access(place, kAccessWrite | kAccessOwner, subject_, released_));
  const DomId old_owner = old->perms->owner();
  const DomId new_owner = perms->owner();
  if (!subject_.is_privileged() && new_owner != old_owner) return xs_fail(XsError::kPerm);
  if (exceeds_entry_quota(perms->entries.size(), old->value.size(), old->children.name_bytes())) {
    return xs_fail(XsError::kNoSpc);
  }
  const int64_t old_bytes = node_bytes(*old, path);
  const auto perm_bytes = [](const Perms& of) { return static_cast<int64_t>(of.entries.size() * kEntryPermBytes); };
  const int64_t growth = perm_bytes(*perms) - perm_bytes(*old->perms);
  if (exceeds_memory_quota(new_owner, growth)) return xs_fail(XsError::kNoMem);
  effects_.count(old_owner, -1, -old_bytes);
  effects_.count(new_owner, 1, old_bytes + growth);
  PermsRef parent_perms = place.parent != nullptr ? place.parent->perms : nullptr;
  if (new_owner != old_owner) {
    const DomId parent_owner = parent_perms ? parent_perms->owner() : kDom0;
    const auto boundary = [&](bool appeared, DomId owner, DomId above, std::string where) {
      if (owner != kDom0 && owner != above) effects_.boundaries.push_back({appeared, owner, std::move(where)});
    };
    boundary(false, old_owner, parent_owner, std::string(path));
    boundary(true, new_owner, parent_owner, std::string(path));
    // Bounded by the node's children; only Dom0 gives nodes away.
    old->children.for_each([&](const Node& child) {
      std::string where(path.size() == 1 ? "" : path);
      where.append("/").append(child.name);
      boundary(false, child.perms->owner(), old_owner, where);
      boundary(true, child.perms->owner(), new_owner, std::move(where));
    });
  }
  PermsRef old_perms = old->perms;
  Node& node = edit(path);
  node.perms = std::move(perms);
  node.content_generation = ++generation_;
  effects_.changes.push_back({std::string(path), node.perms, std::move(old_perms), std::move(parent_perms), nullptr});
  return {};
}

}  // namespace xenopolis::xenstore
