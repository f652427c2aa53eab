#include "xenstore/path.h"

#include <gtest/gtest.h>

namespace xenopolis::xenstore {
namespace {

std::string canonical(std::string_view given) {
  std::string buffer;
  const auto path = canonical_path(given, 7, buffer);
  return path ? std::string(*path) : std::string(error_name(path.error()));
}

TEST(Path, IsCanonicalOrRefused) {
  const struct {
    std::string given, expected;
  } rows[] = {
      {"/", "/"},
      {"/a", "/a"},
      {"/a/b-c_d@e/0", "/a/b-c_d@e/0"},
      {"data", "/local/domain/7/data"},
      {"device/vif/0", "/local/domain/7/device/vif/0"},
      {"", "EINVAL"},
      {"/a/", "EINVAL"},
      {"//", "EINVAL"},
      {"/a//b", "EINVAL"},
      {"a//b", "EINVAL"},
      {"a/", "EINVAL"},
      {"/a.b", "EINVAL"},
      {"/a b", "EINVAL"},
      {"/\xc3\xa9", "EINVAL"},
      {"@introduceDomain", "EINVAL"},
      {"/" + std::string(3071, 'a'), "/" + std::string(3071, 'a')},
      {"/" + std::string(3072, 'a'), "EINVAL"},
      {std::string(2048, 'a'), "/local/domain/7/" + std::string(2048, 'a')},
      {std::string(2049, 'a'), "EINVAL"},
  };
  for (const auto& row : rows) EXPECT_EQ(canonical(row.given), row.expected) << row.given;
}

TEST(Path, MayBeSpecialForWatchesOnly) {
  std::string buffer;
  EXPECT_EQ(*canonical_watch_path("@releaseDomain", 7, buffer), "@releaseDomain");
  EXPECT_EQ(*canonical_watch_path("data", 7, buffer), "/local/domain/7/data");
  EXPECT_FALSE(canonical_watch_path("@a b", 7, buffer));
}

TEST(Path, KnowsItsParentAndItsLastName) {
  EXPECT_EQ(parent_path("/a"), "/");
  EXPECT_EQ(parent_path("/a/bc"), "/a");
  EXPECT_EQ(base_name("/a"), "a");
  EXPECT_EQ(base_name("/a/bc"), "bc");
}

TEST(Path, IsWalkedNameByName) {
  PathWalk walk("/a/bc/d");
  std::string seen;
  for (std::string_view name; walk.next(name);) seen += std::string(name) + "=" + std::string(walk.so_far()) + " ";
  EXPECT_EQ(seen, "a=/a bc=/a/bc d=/a/bc/d ");
  std::string_view name;
  PathWalk root("/");
  EXPECT_EQ(root.so_far(), "/");
  EXPECT_FALSE(root.next(name));
  EXPECT_EQ(root.so_far(), "/");
}

}  // namespace
}  // namespace xenopolis::xenstore
