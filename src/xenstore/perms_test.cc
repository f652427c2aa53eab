#include "xenstore/perms.h"

#include <gtest/gtest.h>

namespace xenopolis::xenstore {
namespace {

constexpr Subject kNewDomain5{5, std::nullopt};

TEST(PermsCache, GivesEqualRightsSaidOneAfterTheOtherOneObject) {
  PermsCache cache;
  ReleasedDomains released;
  const PermsRef first = cache.make({{5, kAccessNone}, {6, kAccessRead}}, 10, released);
  EXPECT_EQ(cache.make({{5, kAccessNone}, {6, kAccessRead}}, 20, released), first);
  EXPECT_NE(cache.make({{5, kAccessNone}, {6, kAccessWrite}}, 20, released), first);
  EXPECT_NE(cache.make({{5, kAccessNone}}, 20, released), first);
  released.release(7, 30);  // whom they do not name
  EXPECT_EQ(cache.make({{5, kAccessNone}, {6, kAccessRead}}, 40, released), first);
  EXPECT_EQ(first->entries.size(), 2u);
}

// XSA-322: the next domain of a number must not get rights of the last one; and must get its own.
TEST(PermsCache, RightsSaidAfterAReleaseAreOthers) {
  PermsCache cache;
  ReleasedDomains released;
  const PermsRef old = cache.make({{0, kAccessNone}, {5, kAccessRead}}, 10, released);
  released.release(5, 20);
  EXPECT_EQ(access_of(*old, kNewDomain5, released), kAccessNone);
  const PermsRef fresh = cache.make({{0, kAccessNone}, {5, kAccessRead}}, 20, released);
  EXPECT_EQ(access_of(*fresh, kNewDomain5, released), kAccessRead);
  EXPECT_EQ(access_of(*old, kNewDomain5, released), kAccessNone);
  released.release(5, 30);
  EXPECT_EQ(access_of(*fresh, kNewDomain5, released), kAccessNone);
}

}  // namespace
}  // namespace xenopolis::xenstore
