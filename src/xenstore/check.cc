#include "xenstore/check.h"

#include <fmt/format.h>

#include <set>
#include <unordered_map>

#include "xenstore/server.h"

namespace xenopolis::xenstore {
namespace {

constexpr size_t kFaultsMax = 100;

class Faults {
 public:
  template <class... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    if (texts.size() < kFaultsMax) texts.push_back(fmt::vformat(format, fmt::make_format_args(arguments...)));
  }
  std::vector<std::string> texts;
};

// The tree by itself, and what the owner index should say.
class TreeCheck {
 public:
  explicit TreeCheck(Faults& faults) : faults_(faults) {}

  void run(const Node& root) {
    if (!root.name.empty()) faults_.add("the root has the name {}", root.name.view());
    std::string path;
    visit(root, kDom0, path);
  }
  const std::unordered_map<DomId, Store::Owned>& owners() const { return owners_; }

 private:
  // As deep as the tree, which kAbsolutePathMax bounds.
  void visit(const Node& node, DomId parent_owner, std::string& path) {
    const std::string_view here = path.empty() ? std::string_view("/") : std::string_view(path);
    if (!is_valid_absolute_path(here)) faults_.add("{} is no path", here);
    if (node.perms == nullptr || node.perms->entries.empty()) return faults_.add("{} has no owner", here);
    const DomId owner = node.perms->owner();
    if (owner != kDom0) {
      Store::Owned& owned = owners_[owner];
      ++owned.nodes;
      owned.bytes += node_bytes(node, here);
      if (owner != parent_owner) owned.boundaries.emplace(here);
    }
    uint32_t count = 0, bytes = 0;
    std::string_view last;
    node.children.for_each([&](const Node& child) {
      const std::string_view name = child.name;
      if (count > 0 && name <= last) faults_.add("{}: {} comes after {}", here, name, last);
      if (name.empty() || name.find('/') != std::string::npos) {
        faults_.add("{}: a child with the name \"{}\"", here, name);
      }
      if (node.children.find(name) != &child) faults_.add("{}/{} is not found by its name", path, name);
      ++count;
      bytes += static_cast<uint32_t>(name.size()) + 1;
      last = name;
      const size_t length = path.size();
      path.append("/").append(name);
      visit(child, owner, path);
      path.resize(length);
    });
    if (count != node.children.count() || bytes != node.children.name_bytes()) {
      faults_.add("{}: {} children of {} bytes, counted are {} of {}", here, count, bytes, node.children.count(),
                  node.children.name_bytes());
    }
  }

  Faults& faults_;
  std::unordered_map<DomId, Store::Owned> owners_;
};

void check_owners(const std::unordered_map<DomId, Store::Owned>& found,
                  const std::unordered_map<DomId, Store::Owned>& known, Faults& faults) {
  for (const auto& [domid, owned] : found) {
    const auto index = known.find(domid);
    if (index == known.end()) {
      faults.add("domain {} owns {} nodes that nobody knows", domid, owned.nodes);
      continue;
    }
    if (index->second.nodes != owned.nodes || index->second.bytes != owned.bytes) {
      faults.add("domain {} owns {} nodes of {} bytes, accounted are {} of {}", domid, owned.nodes, owned.bytes,
                 index->second.nodes, index->second.bytes);
    }
    if (index->second.boundaries != owned.boundaries) {
      faults.add("domain {}: the index of its {} subtrees has {}", domid, owned.boundaries.size(),
                 index->second.boundaries.size());
    }
  }
  for (const auto& [domid, owned] : known) {
    if (!found.contains(domid)) faults.add("domain {} is said to own {} nodes and owns none", domid, owned.nodes);
  }
}

class WatchCheck {
 public:
  explicit WatchCheck(Faults& faults) : faults_(faults) {}

  void run(const WatchTrie& trie) {
    std::string path;
    for (const auto& [name, place] : trie.root().children) visit(name, *place, &trie.root(), path);
    visit_groups(trie.root(), "/");
    for (const auto& [name, place] : trie.specials()) visit(name, *place, nullptr, path);
    if (seen_ != trie.size()) faults_.add("{} watches in the trie, counted are {}", seen_, trie.size());
    for (const auto& [connection, watched] : connections_) {
      if (watched.count != connection->watch_count() || watched.bytes != connection->watch_bytes()) {
        faults_.add("a client of domain {} has {} watches of {} bytes, in the trie are {} of {}",
                    connection->subject().domid, connection->watch_count(), connection->watch_bytes(), watched.count,
                    watched.bytes);
      }
    }
  }
  size_t count_of(const Connection& connection) const {
    const auto found = connections_.find(&connection);
    return found == connections_.end() ? 0 : found->second.count;
  }

 private:
  struct Watched {
    size_t count = 0;
    size_t bytes = 0;
  };

  void visit(std::string_view name, const WatchPlace& place, const WatchPlace* parent, std::string& path) {
    const size_t length = path.size();
    if (parent != nullptr) path.push_back('/');
    path.append(name);
    if (place.name != name || place.parent != parent) faults_.add("the place of watches on {} is misplaced", path);
    if (place.groups.empty() && place.children.empty()) faults_.add("nobody watches {}", path);
    visit_groups(place, path);
    for (const auto& [child_name, child] : place.children) visit(child_name, *child, &place, path);
    path.resize(length);
  }

  void visit_groups(const WatchPlace& place, std::string_view path) {
    const WatchGroup* last = nullptr;
    for (const WatchGroup& group : place.groups) {
      if (group.watches.empty()) faults_.add("{}: an empty group of domain {}", path, group.domid);
      if (last != nullptr && std::pair(last->domid, last->depth) >= std::pair(group.domid, group.depth)) {
        faults_.add("{}: the groups of watches are out of order", path);
      }
      last = &group;
      for (size_t i = 0; i < group.watches.size(); ++i) {
        const Watch& watch = *group.watches[i];
        if (watch.place != &place || watch.index != i || watch.path != path || watch.domid != group.domid ||
            watch.depth != group.depth || watch.connection.subject().domid != watch.domid ||
            !watch.connection.has_watch(watch.path, watch.token)) {
          faults_.add("the watch {} {} of domain {} stands at {}", watch.path, watch.token, watch.domid, path);
        }
        ++seen_;
        Watched& watched = connections_[&watch.connection];
        ++watched.count;
        watched.bytes += watch.path.size() + watch.token.size();
      }
    }
  }

  Faults& faults_;
  size_t seen_ = 0;
  std::unordered_map<const Connection*, Watched> connections_;
};

void check_domains(const Server& server, const WatchCheck& watches, Faults& faults) {
  const auto& domains = server.domains();
  for (const auto& [domid, domain] : domains) {
    const Connection& connection = std::as_const(*domain.transport).connection();
    if (connection.subject().domid != domid) faults.add("domain {} acts as {}", domid, connection.subject().domid);
    if (connection.watch_count() != watches.count_of(connection)) {
      faults.add("domain {} has {} watches, in the trie are {}", domid, connection.watch_count(),
                 watches.count_of(connection));
    }
    if (const auto target = connection.subject().target) {
      const auto other = domains.find(*target);
      if (other == domains.end() ||
          std::count(other->second.targeted_by.begin(), other->second.targeted_by.end(), domid) != 1) {
        faults.add("domain {} has domain {} as target, which does not know", domid, *target);
      }
    }
    for (const DomId holder : domain.targeted_by) {
      const auto other = domains.find(holder);
      if (other == domains.end() || std::as_const(*other->second.transport).connection().subject().target != domid) {
        faults.add("domain {} is said to be the target of domain {}", domid, holder);
      }
    }
  }
}

}  // namespace

std::vector<std::string> find_faults(const Server& server) {
  Faults faults;
  TreeCheck tree(faults);
  tree.run(*server.store().committed().root);
  check_owners(tree.owners(), server.store().owners(), faults);
  WatchCheck watches(faults);
  watches.run(server.watches());
  check_domains(server, watches, faults);
  return std::move(faults.texts);
}

}  // namespace xenopolis::xenstore
