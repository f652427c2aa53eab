// The flaws that advisories found in who owns nodes and who may do what with them, tried on ours (docs/security.md).
#include <gmock/gmock.h>

#include "xenstore/testing/ring_guest.h"

namespace xenopolis::xenstore {
namespace {

using testing::IsEmpty;

class OwnershipAdvisories : public GuestsTest {};

TEST_F(OwnershipAdvisories, Xsa322ADomainInheritsNoRightsFromAnEarlierOneOfItsNumber) {
  RingGuest owner = guest(5);
  ASSERT_EQ(dom0.ask(XS_SET_PERMS, home_of(5) + "/data|n5|b9|"), "OK|");
  ASSERT_EQ(owner.ask(XS_WRITE, "data/for9|secret"), "OK|");
  ASSERT_EQ(owner.ask(XS_SET_PERMS, "data/for9|n5|b9|"), "OK|");
  ASSERT_EQ(dom0.ask(XS_SET_PERMS, "@releaseDomain|n0|r9|"), "OK|");
  RingGuest first = guest(9);
  ASSERT_EQ(first.ask(XS_READ, "/local/domain/5/data/for9|"), "secret");
  ASSERT_EQ(first.ask(XS_WRITE, "/local/domain/5/data/by9|1"), "OK|");
  release(9);
  ASSERT_EQ(dom0.ask(XS_RM, home_of(9) + "|"), "OK|");

  RingGuest second = guest(9);
  EXPECT_EQ(second.ask(XS_READ, "/local/domain/5/data/for9|"), "EACCES");
  EXPECT_EQ(second.ask(XS_WRITE, "/local/domain/5/data/for9|1"), "EACCES");
  EXPECT_EQ(second.ask(XS_DIRECTORY, "/local/domain/5/data|"), "EACCES");
  EXPECT_EQ(second.ask(XS_GET_PERMS, "/local/domain/5/data/for9|"), "EACCES");
  EXPECT_EQ(second.ask(XS_WATCH, "/local/domain/5|t|"), "OK|");
  EXPECT_EQ(second.ask(XS_WATCH, "@releaseDomain|t|"), "OK|");
  second.events();
  ASSERT_EQ(owner.ask(XS_WRITE, "data/for9|2"), "OK|");
  guest(8);
  release(8);
  EXPECT_THAT(second.events(), IsEmpty());
  // The owner does not see the old right either, and what it grants now is meant for the new domain.
  EXPECT_EQ(owner.ask(XS_GET_PERMS, "data/for9|"), "n5|");
  ASSERT_EQ(owner.ask(XS_SET_PERMS, "data/for9|n5|r9|"), "OK|");
  EXPECT_EQ(second.ask(XS_READ, "/local/domain/5/data/for9|"), "2");
}

TEST_F(OwnershipAdvisories, Xsa322AnOpenTransactionRevivesNoRightsOfADeadDomain) {
  RingGuest owner = guest(5);
  ASSERT_EQ(owner.ask(XS_WRITE, "data/for9|1"), "OK|");
  guest(9);
  const uint32_t transaction = owner.begin();
  ASSERT_EQ(owner.ask(XS_SET_PERMS, "data/for9|n5|b9|", transaction), "OK|");
  ASSERT_EQ(owner.ask(XS_WRITE, "data/for9/below|2", transaction), "OK|");
  release(9);
  ASSERT_EQ(dom0.ask(XS_RM, home_of(9) + "|"), "OK|");
  RingGuest second = guest(9);
  const std::string end = owner.commit(transaction);
  ASSERT_TRUE(end == "OK|" || end == "EAGAIN") << end;
  EXPECT_EQ(second.ask(XS_READ, "/local/domain/5/data/for9|"), "EACCES");
  EXPECT_EQ(second.ask(XS_READ, "/local/domain/5/data/for9/below|"), "EACCES");
}

TEST_F(OwnershipAdvisories, Xsa322ATargetsRightsEndWithTheTargetAndWithTheHolder) {
  RingGuest target = guest(5);
  RingGuest device_model = guest(6);
  ASSERT_EQ(target.ask(XS_WRITE, "data/x|1"), "OK|");
  EXPECT_EQ(device_model.ask(XS_READ, "/local/domain/5/data/x|"), "EACCES");
  ASSERT_EQ(dom0.ask(XS_SET_TARGET, "6|5|"), "OK|");
  EXPECT_EQ(device_model.ask(XS_READ, "/local/domain/5/data/x|"), "1");
  // The other way round it gives nothing.
  ASSERT_EQ(device_model.ask(XS_WRITE, "data/y|1"), "OK|");
  EXPECT_EQ(target.ask(XS_READ, "/local/domain/6/data/y|"), "EACCES");
  release(5);
  ASSERT_EQ(dom0.ask(XS_RM, home_of(5) + "|"), "OK|");
  RingGuest next = guest(5);
  ASSERT_EQ(next.ask(XS_WRITE, "data/x|2"), "OK|");
  EXPECT_EQ(device_model.ask(XS_READ, "/local/domain/5/data/x|"), "EACCES");
}

TEST_F(OwnershipAdvisories, Xsa352AGuestCannotGiveItsNodesAway) {
  RingGuest hostile = guest(5);
  RingGuest victim = guest(6);
  ASSERT_EQ(hostile.ask(XS_WRITE, "data/x|1"), "OK|");
  EXPECT_EQ(hostile.ask(XS_SET_PERMS, "data/x|n6|"), "EPERM");
  EXPECT_EQ(hostile.ask(XS_SET_PERMS, "data/x|n0|"), "EPERM");
  const uint32_t transaction = hostile.begin();
  EXPECT_EQ(hostile.ask(XS_SET_PERMS, "data/x|n6|", transaction), "EPERM");
  hostile.commit(transaction);
  // Nor take those of others that it may write.
  ASSERT_EQ(victim.ask(XS_SET_PERMS, "data|n6|b5|"), "OK|");
  EXPECT_EQ(hostile.ask(XS_SET_PERMS, "/local/domain/6/data|n5|"), "EACCES");
  EXPECT_EQ(hostile.ask(XS_GET_PERMS, "data/x|"), "n5|");
  EXPECT_EQ(victim.ask(XS_GET_PERMS, "data|"), "n6|b5|");
}

TEST_F(OwnershipAdvisories, Xsa353TheRootHasRightsLikeEveryNode) {
  RingGuest hostile = guest(5);
  for (const uint32_t type : {XS_READ, XS_DIRECTORY, XS_GET_PERMS, XS_MKDIR, XS_RM}) {
    const std::string reply = hostile.ask(type, "/|");
    EXPECT_EQ(reply, "EACCES") << type;
  }
  EXPECT_EQ(hostile.ask(XS_WRITE, std::string("/|1")), "EACCES");
  EXPECT_EQ(hostile.ask(XS_SET_PERMS, "/|b5|"), "EACCES");
  EXPECT_EQ(hostile.ask(XS_SET_PERMS, "/|b0|"), "EACCES");
  EXPECT_EQ(hostile.ask(XS_DIRECTORY_PART, "/|0|"), "EACCES");
  EXPECT_EQ(hostile.ask(XS_MKDIR, "/mine|"), "EACCES");
  EXPECT_EQ(dom0.ask(XS_GET_PERMS, "/|"), "n0|");
  // Not even Dom0 removes it, and whoever may write it does not either.
  EXPECT_EQ(dom0.ask(XS_RM, "/|"), "EINVAL");
  ASSERT_EQ(dom0.ask(XS_SET_PERMS, "/|b0|"), "OK|");
  EXPECT_NE(hostile.ask(XS_RM, "/|"), "OK|");
  EXPECT_EQ(dom0.ask(XS_READ, home_of(5) + "/data|"), "");
}

TEST_F(OwnershipAdvisories, Xsa417WritingANodeBetweenTwoDomainsOfANumberRenewsNoRights) {
  RingGuest owner = guest(5);
  ASSERT_EQ(owner.ask(XS_WRITE, "data/for9|1"), "OK|");
  ASSERT_EQ(owner.ask(XS_SET_PERMS, "data/for9|n5|b9|"), "OK|");
  guest(9);
  release(9);
  ASSERT_EQ(dom0.ask(XS_RM, home_of(9) + "|"), "OK|");
  // The number is not introduced again yet: the node is written, gets a child, and its rights are read and set again.
  ASSERT_EQ(owner.ask(XS_WRITE, "data/for9|2"), "OK|");
  ASSERT_EQ(owner.ask(XS_WRITE, "data/for9/below|3"), "OK|");
  const std::string perms = owner.ask(XS_GET_PERMS, "data/for9|");
  ASSERT_EQ(owner.ask(XS_SET_PERMS, "data/for9|" + perms), "OK|");
  RingGuest second = guest(9);
  EXPECT_EQ(second.ask(XS_READ, "/local/domain/5/data/for9|"), "EACCES");
  EXPECT_EQ(second.ask(XS_READ, "/local/domain/5/data/for9/below|"), "EACCES");
  EXPECT_EQ(second.ask(XS_WRITE, "/local/domain/5/data/for9/more|"), "EACCES");
}

TEST_F(OwnershipAdvisories, Xsa419NodesOfADeadDomainGoWhereverTheyAre) {
  RingGuest host = guest(5);
  ASSERT_EQ(host.ask(XS_SET_PERMS, "data|n5|b6|"), "OK|");
  for (int round = 0; round < 3; ++round) {
    RingGuest guest6 = guest(6);
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(guest6.ask(XS_WRITE, "/local/domain/5/data/r" + std::to_string(round) + "/" + std::to_string(i) + "|1"),
                "OK|");
    }
    release(6);
    ASSERT_EQ(dom0.ask(XS_RM, home_of(6) + "|"), "OK|");
    EXPECT_EQ(dom0.ask(XS_DIRECTORY, home_of(5) + "/data|"), "");
    // The right was that domain's; the next of its number gets its own.
    ASSERT_EQ(host.ask(XS_SET_PERMS, "data|n5|b6|"), "OK|");
  }
}

TEST_F(OwnershipAdvisories, Xsa419NodesThatOthersMadeBelowThemGoTooAndAreCounted) {
  RingGuest host = guest(5);
  RingGuest helper = guest(6);
  const unsigned before = nodes_left(helper);
  ASSERT_EQ(host.ask(XS_WRITE, "data/open|"), "OK|");
  ASSERT_EQ(host.ask(XS_SET_PERMS, "data/open|n5|b6|"), "OK|");
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(helper.ask(XS_WRITE, "/local/domain/5/data/open/" + std::to_string(i) + "|1"), "OK|");
  }
  EXPECT_EQ(nodes_left(helper), before - 50);
  release(5);
  EXPECT_EQ(dom0.ask(XS_DIRECTORY, home_of(5) + "|"), "");
  EXPECT_EQ(nodes_left(helper), before);
}

TEST_F(OwnershipAdvisories, Xsa483ANewDomainHasTheWholeQuotaWhateverTheLastOneOfItsNumberDid) {
  unsigned first = 0;
  for (int round = 0; round < 3; ++round) {
    RingGuest each = guest(5);
    // Nodes that go with their owner, that Dom0 removes before, and in transactions that are never ended.
    for (int i = 0; i < 100; ++i) ASSERT_EQ(each.ask(XS_WRITE, "data/a/" + std::to_string(i) + "|1"), "OK|");
    for (int i = 0; i < 100; ++i) ASSERT_EQ(each.ask(XS_WRITE, "data/b/" + std::to_string(i) + "|1"), "OK|");
    ASSERT_EQ(dom0.ask(XS_RM, home_of(5) + "/data/b|"), "OK|");
    const uint32_t transaction = each.begin();
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(each.ask(XS_WRITE, "data/c/" + std::to_string(i) + "|1", transaction), "OK|");
    }
    ASSERT_EQ(each.ask(XS_RM, "data/a|"), "OK|");
    const unsigned left = nodes_left(each);
    if (round == 0) first = left;
    EXPECT_EQ(left, first);
    ASSERT_EQ(each.ask(XS_WRITE, "data/last|1"), "OK|");
    if (round == 0) {
      release(5);
      ASSERT_EQ(dom0.ask(XS_RM, home_of(5) + "|"), "OK|");
    } else {
      ASSERT_EQ(dom0.ask(XS_RM, home_of(5) + "|"), "OK|");
      release(5);
    }
  }
}

}  // namespace
}  // namespace xenopolis::xenstore
