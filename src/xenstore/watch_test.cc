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
  Watch& add(std::string path) {
    watches.push_back(std::unique_ptr<Watch>(new Watch{client.connection(), std::move(path), "t", 0}));
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
  EXPECT_THAT(matching("@releaseDomain"), ElementsAre("@releaseDomain"));
  EXPECT_THAT(matching("@introduceDomain"), IsEmpty());
  for (auto& watch : watches) trie.remove(*watch);
  EXPECT_TRUE(trie.empty());
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
  trie.for_each_removed("/a", *removed, [&](Watch& watch, const Node& node, const Node&) {
    EXPECT_EQ(node.name, base_name(watch.path));
    found.push_back(watch.path);
  });
  EXPECT_THAT(found, UnorderedElementsAre("/a/x", "/a/x/y"));
  for (auto& watch : watches) trie.remove(*watch);
}

}  // namespace
}  // namespace xenopolis::xenstore
