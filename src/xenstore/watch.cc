#include "xenstore/watch.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace xenopolis::xenstore {
namespace {

WatchPlace& child_place(StringMap<std::unique_ptr<WatchPlace>>& among, std::string_view name, WatchPlace* parent) {
  const auto known = among.find(name);
  if (known != among.end()) return *known->second;
  auto place = std::make_unique<WatchPlace>();
  place->parent = parent;
  place->name = name;
  return *among.emplace(std::string(name), std::move(place)).first->second;
}

}  // namespace

WatchPlace& WatchTrie::place_for(std::string_view path) {
  if (is_special(path)) return child_place(specials_, path, nullptr);
  WatchPlace* place = &root_;
  PathWalk walk(path);
  for (std::string_view name; walk.next(name);) place = &child_place(place->children, name, place);
  return *place;
}

void Hearers::clear() {
  everyone_ = false;
  domids_.resize(1);
}

void Hearers::add(DomId domid) {
  // As many as a node has rights, and few.
  if (std::find(domids_.begin(), domids_.end(), domid) == domids_.end()) domids_.push_back(domid);
}

std::vector<WatchGroup>::const_iterator WatchPlace::find(DomId domid, uint32_t depth) const {
  return std::lower_bound(groups.begin(), groups.end(), std::pair(domid, depth),
                          [](const WatchGroup& group, const std::pair<DomId, uint32_t>& wanted) {
                            return std::pair(group.domid, group.depth) < wanted;
                          });
}

void WatchTrie::add(Watch& watch) {
  WatchPlace& place = place_for(watch.path);
  auto found = place.groups.begin() + (place.find(watch.domid, watch.depth) - place.groups.cbegin());
  if (found == place.groups.end() || found->domid != watch.domid || found->depth != watch.depth) {
    found = place.groups.insert(found, {watch.domid, watch.depth, {}});
  }
  watch.place = &place;
  watch.index = found->watches.size();
  found->watches.push_back(&watch);
  ++size_;
}

void WatchTrie::remove(Watch& watch) {
  WatchPlace* place = watch.place;
  CHECK(place != nullptr);
  const auto group = place->groups.begin() + (place->find(watch.domid, watch.depth) - place->groups.cbegin());
  CHECK(group != place->groups.end() && watch.index < group->watches.size() && group->watches[watch.index] == &watch);
  Watch* last = group->watches.back();
  group->watches[watch.index] = last;
  last->index = watch.index;
  group->watches.pop_back();
  if (group->watches.empty()) place->groups.erase(group);
  watch.place = nullptr;
  --size_;
  // Bounded by the depth of the path.
  while (place != &root_ && place->groups.empty() && place->children.empty()) {
    WatchPlace* parent = place->parent;
    auto& among = parent == nullptr ? specials_ : parent->children;
    among.erase(among.find(place->name));
    if (parent == nullptr) return;
    place = parent;
  }
}

}  // namespace xenopolis::xenstore
