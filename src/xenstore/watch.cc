#include "xenstore/watch.h"

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

void WatchTrie::add(Watch& watch) {
  WatchPlace& place = place_for(watch.path);
  watch.place = &place;
  watch.index = place.watches.size();
  place.watches.push_back(&watch);
}

void WatchTrie::remove(Watch& watch) {
  WatchPlace* place = watch.place;
  CHECK(place != nullptr && place->watches[watch.index] == &watch);
  Watch* last = place->watches.back();
  place->watches[watch.index] = last;
  last->index = watch.index;
  place->watches.pop_back();
  watch.place = nullptr;
  // Bounded by the depth of the path.
  while (place != &root_ && place->watches.empty() && place->children.empty()) {
    WatchPlace* parent = place->parent;
    auto& among = parent == nullptr ? specials_ : parent->children;
    among.erase(among.find(place->name));
    if (parent == nullptr) return;
    place = parent;
  }
}

}  // namespace xenopolis::xenstore
