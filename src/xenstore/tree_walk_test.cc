#include "xenstore/tree_walk.h"

#include <gmock/gmock.h>

#include <random>

#include "xenstore/store.h"

namespace xenopolis::xenstore {
namespace {

using testing::ElementsAre;

const Subject kDom0Subject{};

void make(Store& store, const std::string& path) {
  std::vector<Change> changes;
  ASSERT_TRUE(store.change({ChangeKind::kMakeDirectory, path, {}, nullptr}, kDom0Subject, nullptr, changes));
}
void remove(Store& store, const std::string& path) {
  std::vector<Change> changes;
  ASSERT_TRUE(store.change({ChangeKind::kRemove, path, {}, nullptr}, kDom0Subject, nullptr, changes));
}

std::vector<std::string> rest_of(TreeWalk& walk) {
  std::vector<std::string> paths;
  while (walk.next() != nullptr) paths.emplace_back(walk.path());
  return paths;
}

void collect(const Node& node, const std::string& path, std::vector<std::string>& paths) {
  paths.push_back(path.empty() ? "/" : path);
  node.children.for_each([&](const Node& child) { collect(child, path + "/" + std::string(child.name), paths); });
}

TEST(TreeWalk, GivesParentsBeforeTheirChildrenAndSiblingsByName) {
  Store store;
  for (const char* path : {"/b/y/1", "/b/x", "/a", "/b-c"}) make(store, path);
  TreeWalk walk(store.committed());
  EXPECT_THAT(rest_of(walk),
              ElementsAre("/", "/a", "/b", "/b/x", "/b/y", "/b/y/1", "/b-c", "/tool", "/tool/xenstored"));
  EXPECT_EQ(walk.next(), nullptr);
  EXPECT_EQ(walk.path(), "/");
}

TEST(TreeWalk, GivesEveryNodeOfItsVersionOnceWhateverChangesBetweenItsSteps) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    Store store;
    const auto any_path = [&] {
      std::string path;
      for (unsigned depth = 1 + random() % 4; depth > 0; --depth) path += "/" + std::to_string(random() % 12);
      return path;
    };
    for (int i = 0; i < 200; ++i) make(store, any_path());
    std::vector<std::string> expected;
    collect(*store.committed().root, "", expected);

    TreeWalk walk(store.committed());
    std::vector<std::string> given;
    for (const Node* node = walk.next(); node != nullptr; node = walk.next()) {
      given.emplace_back(walk.path());
      EXPECT_EQ(node->name, given.back() == "/" ? "" : base_name(given.back()));
      const std::string path = any_path();
      if (random() % 2 == 0) {
        make(store, path);
      } else if (store.committed().find(path).parent != nullptr) {
        remove(store, path);
      }
    }
    EXPECT_EQ(given, expected);
  }
}

TEST(TreeWalk, LetsGoOfItsVersionAtTheEnd) {
  Store store;
  TreeWalk walk(store.committed());
  EXPECT_EQ(store.committed().root->use_count(), 2u);
  rest_of(walk);
  EXPECT_EQ(store.committed().root->use_count(), 1u);
}

}  // namespace
}  // namespace xenopolis::xenstore
