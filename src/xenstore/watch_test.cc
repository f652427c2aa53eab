#include "xenstore/watch.h"

#include <gmock/gmock.h>

#include "xenstore/test_client.h"

namespace xenopolis::xenstore {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class WatchTest : public testing::Test {
 protected:
  Watch& add(std::string path, uint32_t depth = kAnyDepth, DomId domid = kDom0) {
    watches.push_back(std::unique_ptr<Watch>(new Watch{client.connection(), std::move(path), "t", 0, depth, domid}));
    trie.add(*watches.back());
    return *watches.back();
  }
  std::vector<std::string> matching(std::string_view path) {
    std::vector<std::string> paths;
    trie.for_each_matching(path, [&](Watch& watch) { paths.push_back(watch.path); });
    return paths;
  }

  Server server;
  TestClient client{server};
  WatchTrie trie;
  std::vector<std::unique_ptr<Watch>> watches;
};

TEST_F(WatchTest, MatchesItsPathAndWhatIsBelow) {
  for (const char* path : {"/", "/a", "/a/b", "/ab", "@releaseDomain"}) add(path);
  EXPECT_THAT(matching("/a/b/c"), ElementsAre("/", "/a", "/a/b"));
  EXPECT_THAT(matching("/a"), ElementsAre("/", "/a"));
  EXPECT_THAT(matching("/abc"), ElementsAre("/"));
  EXPECT_NE(trie.find_special("@releaseDomain"), nullptr);
  EXPECT_EQ(trie.find_special("@introduceDomain"), nullptr);
  for (auto& watch : watches) trie.remove(*watch);
  EXPECT_TRUE(trie.empty());
}

TEST_F(WatchTest, HearsOfAsManyLevelsBelowAsItsDepthSays) {
  for (const uint32_t depth : {0u, 1u, 2u, kAnyDepth}) {
    add("/", depth);
    add("/a", depth);
  }
  EXPECT_THAT(matching("/"), ElementsAre("/", "/", "/", "/"));
  EXPECT_THAT(matching("/a"), ElementsAre("/", "/", "/", "/a", "/a", "/a", "/a"));
  EXPECT_THAT(matching("/a/b"), ElementsAre("/", "/", "/a", "/a", "/a"));
  EXPECT_THAT(matching("/a/b/c"), ElementsAre("/", "/a", "/a"));
  EXPECT_THAT(matching("/a/b/c/d"), ElementsAre("/", "/a"));
  EXPECT_THAT(matching("/b"), ElementsAre("/", "/", "/"));
  for (auto& watch : watches) trie.remove(*watch);
  EXPECT_TRUE(trie.empty());
}

TEST_F(WatchTest, IsVisitedForThoseWhoMayHearOnly) {
  for (const DomId domid : std::initializer_list<DomId>{7, 0, 3, 5, 3, 0}) add("/a", domid == 5 ? 1 : kAnyDepth, domid);
  const auto heard = [&](std::string_view path, const Hearers& hearers) {
    std::vector<DomId> domids;
    trie.for_each_matching(path, hearers, [&](Watch& watch) { domids.push_back(watch.domid); });
    return domids;
  };
  Hearers hearers;
  EXPECT_THAT(heard("/a/b", hearers), ElementsAre(0, 0));
  for (const DomId domid : std::initializer_list<DomId>{5, 3, 5, 4}) hearers.add(domid);
  EXPECT_THAT(heard("/a/b", hearers), ElementsAre(0, 0, 5, 3, 3));
  EXPECT_THAT(heard("/a/b/c", hearers), ElementsAre(0, 0, 3, 3));
  hearers.add_everyone();
  EXPECT_THAT(heard("/a/b", hearers), ElementsAre(0, 0, 3, 3, 5, 7));
  hearers.clear();
  EXPECT_THAT(heard("/a/b", hearers), ElementsAre(0, 0));
  for (auto& watch : watches) trie.remove(*watch);
}

TEST_F(WatchTest, CanBeRemovedInAnyOrderFromOnePlace) {
  for (int i = 0; i < 3; ++i) add("/a/b");
  trie.remove(*watches[0]);
  EXPECT_EQ(matching("/a/b").size(), 2u);
  trie.remove(*watches[2]);
  trie.remove(*watches[1]);
  EXPECT_TRUE(trie.empty());
}

TEST_F(WatchTest, BelowARemovalIsFoundWhereItsNodeExisted) {
  for (const char* path : {"/a", "/a/x", "/a/x/y", "/a/none", "/a/x/none", "/b"}) add(path);
  // More children than watches in one directory, more watches than children in the other.
  const PermsRef perms = new Perms({{0, kAccessNone}}, 1);
  NodeRef removed = new Node("a", perms, 1);
  for (const char* name : {"1", "2", "3", "4", "5"}) removed->children.insert(new Node(name, perms, 1));
  removed->children.insert(new Node("x", perms, 1))->children.insert(new Node("y", perms, 1));
  std::vector<std::string> found;
  trie.for_each_removed("/a", *removed, [&](const WatchPlace& place, const Node& node, const Node&) {
    EXPECT_EQ(node.name, place.name);
    for (const WatchGroup& group : place.groups) {
      for (const Watch* watch : group.watches) found.push_back(watch->path);
    }
  });
  EXPECT_THAT(found, UnorderedElementsAre("/a/x", "/a/x/y"));
  for (auto& watch : watches) trie.remove(*watch);
}

}  // namespace
}  // namespace xenopolis::xenstore
