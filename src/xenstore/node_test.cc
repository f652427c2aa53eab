#include "xenstore/node.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace xenopolis::xenstore {
namespace {

const PermsRef kPerms = new Perms({{0, kAccessNone}}, 1);

NodeRef make(std::string_view name) {
  return new Node(name, kPerms, 1);
}

std::string listing(const Children& children) {
  std::string names;
  children.for_each([&](const Node& child) { names.append(child.name).push_back('\0'); });
  return names;
}

std::string listing(const std::set<std::string>& model) {
  std::string names;
  for (const std::string& name : model) names.append(name).push_back('\0');
  return names;
}

TEST(Children, AgreeWithASetUnderRandomEditsAndSnapshotsStay) {
  std::mt19937 random(1);
  NodeRef root = make("");
  std::set<std::string> model;
  std::vector<std::pair<NodeRef, std::set<std::string>>> snapshots;
  for (int step = 0; step < 20'000; ++step) {
    const std::string name = std::to_string(random() % 500);
    Node& directory = editable(root);
    if (random() % 2 == 0) {
      if (model.insert(name).second) directory.children.insert(make(name));
    } else {
      EXPECT_EQ(directory.children.erase(name) != nullptr, model.erase(name) != 0);
    }
    if (step % 500 == 0) snapshots.emplace_back(root, model);
    if (step % 1000 == 999) snapshots.erase(snapshots.begin());
  }
  snapshots.emplace_back(root, model);
  for (const auto& [kept, names] : snapshots) {
    EXPECT_EQ(listing(kept->children), listing(names));
    EXPECT_EQ(kept->children.count(), names.size());
    EXPECT_EQ(kept->children.name_bytes(), listing(names).size());
    for (const std::string& name : names) EXPECT_NE(kept->children.find(name), nullptr);
    EXPECT_EQ(kept->children.find("none"), nullptr);
  }
}

TEST(Children, AnEditIsSeenByItsOwnRootOnly) {
  NodeRef root = make("");
  editable(root).children.insert(make("a"))->value = "old";
  const NodeRef snapshot = root;
  editable(root).children.edit("a")->value = "new";
  EXPECT_EQ(root->children.find("a")->value, "new");
  EXPECT_EQ(snapshot->children.find("a")->value, "old");
}

TEST(Children, AreChangedInPlaceWhenNobodyElseRefersToThem) {
  NodeRef root = make("");
  for (int i = 0; i < 1000; ++i) editable(root).children.insert(make(std::to_string(i)));
  const Node* before = root->children.find("500");
  EXPECT_EQ(editable(root).children.edit("500"), before);
  const NodeRef snapshot = root;
  EXPECT_NE(editable(root).children.edit("500"), before);
}

TEST(Children, ShareAllButThePathToAChange) {
  NodeRef root = make("");
  for (int i = 0; i < 30'000; ++i) editable(root).children.insert(make(std::to_string(i)));
  const NodeRef snapshot = root;
  editable(root).children.insert(make("new"));
  unsigned copied = 0;
  root->children.for_each([&](const Node& child) { copied += snapshot->children.find(child.name) != &child ? 1 : 0; });
  EXPECT_LT(copied, 100u);  // the expected depth of a treap of 30,000 is about 2 * ln(30000), 21
}

TEST(Children, AreListedFromAnyByteInPiecesOfWholeNames) {
  NodeRef root = make("");
  for (int i = 0; i < 300; ++i) editable(root).children.insert(make(std::to_string(i * 7)));
  const std::string all = listing(root->children);
  for (const size_t limit : {size_t{5}, size_t{16}, size_t{100}, all.size()}) {
    for (uint32_t offset = 0; offset <= all.size(); ++offset) {
      std::string piece = "x";
      root->children.append_names(piece, offset, limit);
      piece.erase(0, 1);
      EXPECT_EQ(piece, all.substr(offset, piece.size()));
      EXPECT_LE(piece.size(), limit);
      // It ends after a name, and only when the next one would not have fitted.
      if (!piece.empty()) {
        EXPECT_EQ(piece.back(), '\0');
      }
      const size_t end = offset + piece.size();
      if (end < all.size()) {
        EXPECT_GT(all.find('\0', end) + 1 - offset, limit);
      }
    }
  }
}

}  // namespace
}  // namespace xenopolis::xenstore
