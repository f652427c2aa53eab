// Watches, found by path: a change costs the depth of its path plus the watches that match.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "xenstore/node.h"
#include "xenstore/path.h"

namespace xenopolis::xenstore {

class Connection;

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
template <class Value>
using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

struct WatchPlace;

// One WATCH. It belongs to its connection and stands in the trie at `path`.
struct Watch {
  Connection& connection;
  std::string path;  // absolute or special
  std::string token;
  size_t relative_bytes;  // how much of an event's path the client does not see, as it gave a relative path

  // The trie's own.
  WatchPlace* place = nullptr;
  size_t index = 0;

  // The connection's own: events were dropped for want of space, and one with the watch's own path stands for them.
  bool overflowed = false;
};

struct WatchPlace {
  WatchPlace* parent = nullptr;
  std::string name;
  StringMap<std::unique_ptr<WatchPlace>> children;
  std::vector<Watch*> watches;
};

// Belongs to one thread. Refers to watches and does not own them.
class WatchTrie {
 public:
  void add(Watch& watch);
  void remove(Watch& watch);

  // Every watch at `path` or above.
  template <class Visitor>
  void for_each_matching(std::string_view path, Visitor&& visit) const {
    const WatchPlace* place = &root_;
    if (is_special(path)) {
      const auto special = specials_.find(path);
      if (special == specials_.end()) return;
      place = special->second.get();
    }
    for (Watch* watch : place->watches) visit(*watch);
    if (is_special(path)) return;
    PathWalk walk(path);
    for (std::string_view name; walk.next(name);) {
      const auto child = place->children.find(name);
      if (child == place->children.end()) return;
      place = child->second.get();
      for (Watch* watch : place->watches) visit(*watch);
    }
  }

  // Every watch strictly below `path` whose node was part of `removed`, with that node and its parent. Costs what is
  // both watched and removed.
  template <class Visitor>
  void for_each_removed(std::string_view path, const Node& removed, Visitor&& visit) const {
    const WatchPlace* place = &root_;
    PathWalk walk(path);
    for (std::string_view name; walk.next(name);) {
      const auto child = place->children.find(name);
      if (child == place->children.end()) return;
      place = child->second.get();
    }
    visit_removed(*place, removed, visit);
  }

  bool empty() const { return root_.children.empty() && root_.watches.empty() && specials_.empty(); }

 private:
  WatchPlace& place_for(std::string_view path);

  template <class Visitor>
  static void visit_removed(const WatchPlace& place, const Node& node, Visitor& visit) {
    const auto descend = [&](const WatchPlace& below, const Node& child) {
      for (Watch* watch : below.watches) visit(*watch, child, node);
      visit_removed(below, child, visit);
    };
    if (place.children.size() <= node.children.count()) {
      for (const auto& [name, below] : place.children) {
        if (const Node* child = node.children.find(name)) descend(*below, *child);
      }
    } else {
      node.children.for_each([&](const Node& child) {
        const auto below = place.children.find(child.name);
        if (below != place.children.end()) descend(*below->second, child);
      });
    }
  }

  WatchPlace root_;
  StringMap<std::unique_ptr<WatchPlace>> specials_;
};

}  // namespace xenopolis::xenstore
