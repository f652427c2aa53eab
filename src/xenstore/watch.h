// Watches, found by path: a change costs the depth of its path plus the watches that match and may hear.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "xenstore/node.h"
#include "xenstore/path.h"
#include "xenstore/work.h"

namespace xenopolis::xenstore {

class Connection;

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
template <class Value>
using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

struct WatchPlace;

// A WATCH without <depth> hears of everything below its path.
inline constexpr uint32_t kAnyDepth = ~0u;

// One WATCH. It belongs to its connection and stands in the trie at `path`.
struct Watch {
  Connection& connection;
  std::string path;  // absolute or special
  std::string token;
  size_t relative_bytes;       // how much of an event's path the client does not see, as it gave a relative path
  uint32_t depth = kAnyDepth;  // how many levels below `path` it hears of
  DomId domid = kDom0;         // of the connection

  // The trie's own.
  WatchPlace* place = nullptr;
  size_t index = 0;  // in its group

  // The connection's own: events were dropped for want of space, and one with the watch's own path stands for them.
  bool overflowed = false;
};

// Watches of one domain with the same depth.
struct WatchGroup {
  DomId domid;
  uint32_t depth;
  std::vector<Watch*> watches;
};

// Who may hear of something: Dom0, and either every domain or those that are named here, each once.
class Hearers {
 public:
  void clear();
  void add_everyone() { everyone_ = true; }
  void add(DomId domid);

  bool everyone() const { return everyone_; }
  const std::vector<DomId>& domids() const { return domids_; }

 private:
  bool everyone_ = false;
  std::vector<DomId> domids_{kDom0};
};

struct WatchPlace {
  WatchPlace* parent = nullptr;
  std::string name;
  StringMap<std::unique_ptr<WatchPlace>> children;
  std::vector<WatchGroup> groups;  // by domid, then depth

  // Every watch of `hearers` that hears of what happens `distance` levels below. Costs these, and a search for each
  // domain that is named: watches of those who may not hear cost nothing.
  template <class Visitor>
  void for_each(const Hearers& hearers, uint32_t distance, Visitor&& visit) const {
    const auto visit_group = [&](const WatchGroup& group) {
      for (Watch* watch : group.watches) visit(*watch);
    };
    if (hearers.everyone()) {
      for (const WatchGroup& group : groups) {
        if (group.depth >= distance) visit_group(group);
      }
      return;
    }
    for (const DomId domid : hearers.domids()) {
      for (auto group = find(domid, distance); group != groups.end() && group->domid == domid; ++group) {
        visit_group(*group);
      }
    }
  }

  // The first group of `domid` with at least this depth, or the first of a later domain.
  std::vector<WatchGroup>::const_iterator find(DomId domid, uint32_t depth) const;
};

// Belongs to one thread. Refers to watches and does not own them.
class WatchTrie {
 public:
  void add(Watch& watch);
  void remove(Watch& watch);

  // Every place at `path` or above where anybody watches, with the levels between: visit(place, distance).
  template <class Visitor>
  void for_each_place(std::string_view path, Visitor&& visit) const {
    auto distance = path.size() == 1 ? 0 : static_cast<uint32_t>(std::count(path.begin(), path.end(), '/'));
    const WatchPlace* place = &root_;
    visit(*place, distance);
    PathWalk walk(path);
    for (std::string_view name; walk.next(name);) {
      const auto child = place->children.find(name);
      if (child == place->children.end()) return;
      place = child->second.get();
      visit(*place, --distance);
    }
  }

  // The watches of `hearers` that hear of a change at `path`.
  template <class Visitor>
  void for_each_matching(std::string_view path, const Hearers& hearers, Visitor&& visit) const {
    for_each_place(path, [&](const WatchPlace& place, uint32_t distance) { place.for_each(hearers, distance, visit); });
  }
  // The same for all, whatever they may hear.
  template <class Visitor>
  void for_each_matching(std::string_view path, Visitor&& visit) const {
    Hearers all;
    all.add_everyone();
    for_each_matching(path, all, visit);
  }

  // Where the special `name`, as it stands, is watched, or nullptr.
  const WatchPlace* find_special(std::string_view name) const {
    const auto special = specials_.find(name);
    return special == specials_.end() ? nullptr : special->second.get();
  }

  // Every place strictly below `path` where somebody watches a node that was part of `removed`: visit(place, node, its
  // parent). Costs what is both watched and removed.
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

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  // For checks and reports: all that is watched.
  const WatchPlace& root() const { return root_; }
  const StringMap<std::unique_ptr<WatchPlace>>& specials() const { return specials_; }

 private:
  WatchPlace& place_for(std::string_view path);

  template <class Visitor>
  static void visit_removed(const WatchPlace& place, const Node& node, Visitor& visit) {
    const auto descend = [&](const WatchPlace& below, const Node& child) {
      count_work(1);
      if (!below.groups.empty()) visit(below, child, node);
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
  StringMap<std::unique_ptr<WatchPlace>> specials_;  // by full name; without children
  size_t size_ = 0;
};

}  // namespace xenopolis::xenstore
