// The flaws that advisories found in how nodes are made, counted and removed, tried on ours (docs/security.md).
#include <gmock/gmock.h>

#include "xenstore/testing/ring_guest.h"

namespace xenopolis::xenstore {
namespace {

class NodeAdvisories : public GuestsTest {
 protected:
  unsigned count_below(const std::string& path) {
    unsigned count = 0;
    std::string names = dom0.ask(XS_DIRECTORY, path + "|");
    for (size_t bar = names.find('|'); bar != std::string::npos; bar = names.find('|')) {
      count += 1 + count_below(path + "/" + names.substr(0, bar));
      names.erase(0, bar + 1);
    }
    return count;
  }
};

std::string chain_of(size_t levels, const std::string& name = "a") {
  std::string path;
  for (size_t i = 0; i < levels; ++i) path += "/" + name;
  return path;
}

TEST_F(NodeAdvisories, Xsa323EveryPathThatAGuestCanMakeDom0CanName) {
  RingGuest hostile = guest(5);
  std::string longest;  // relative, as long as any that is taken
  for (size_t bytes = kAbsolutePathMax; bytes > 1000 && longest.empty(); --bytes) {
    const std::string path = "data/" + std::string(bytes - 5, 'p');
    if (hostile.ask(XS_MKDIR, path + "|") == "OK|") longest = path;
    // In pieces it comes no further than in one.
    if (hostile.ask(XS_MKDIR, "/local/domain/5/" + path + "|") == "OK|") longest = path;
  }
  ASSERT_FALSE(longest.empty());
  // No name below reaches beyond what Dom0 can say, either.
  std::string below = "/local/domain/5/data";
  while (below.size() < 2 * kAbsolutePathMax) {
    const std::string next = below + "/" + std::string(500, 'q');
    if (hostile.ask(XS_MKDIR, next + "|") != "OK|") break;
    below = next;
  }
  for (const std::string& path : {"/local/domain/5/" + longest, below}) {
    EXPECT_LE(path.size(), kAbsolutePathMax);
    EXPECT_EQ(dom0.ask(XS_READ, path + "|"), "") << path.size();
    EXPECT_EQ(dom0.ask(XS_RM, path + "|"), "OK|");
  }
}

TEST_F(NodeAdvisories, Xsa414ACreationThatExceedsAQuotaLeavesEverythingAsItWas) {
  RingGuest hostile = guest(5);
  ASSERT_EQ(hostile.ask(XS_WRITE, "data/here|1"), "OK|");
  // Deep paths, so that the quota ends in the middle of one request's nodes.
  unsigned made = 0;
  while (made < 50 && hostile.ask(XS_MKDIR, "data/d" + std::to_string(made) + chain_of(60) + "|") == "OK|") ++made;
  ASSERT_LT(made, 50u);
  const unsigned nodes = count_below(home_of(5));
  for (const uint32_t transaction : {0u, hostile.begin()}) {
    const std::string more = "data/here/more" + chain_of(900);
    EXPECT_EQ(hostile.ask(XS_MKDIR, more + "|", transaction), "ENOSPC");
    EXPECT_EQ(hostile.ask(XS_WRITE, more + "|value", transaction), "ENOSPC");
    EXPECT_EQ(hostile.ask(XS_DIRECTORY, "data/here|", transaction), "");
    EXPECT_EQ(hostile.ask(XS_READ, "data/here/more|", transaction), "ENOENT");
    if (transaction != 0) {
      EXPECT_EQ(hostile.commit(transaction), "OK|");
    }
  }
  EXPECT_EQ(count_below(home_of(5)), nodes);
}

TEST_F(NodeAdvisories, Xsa415ATransactionWithAFailedRequestCommitsNoNodesWithoutParents) {
  RingGuest hostile = guest(5);
  const uint32_t transaction = hostile.begin();
  ASSERT_EQ(hostile.ask(XS_WRITE, "data/good/node|1", transaction), "OK|");
  EXPECT_EQ(hostile.ask(XS_WRITE, "data/bad" + chain_of(100) + "|" + std::string(3000, 'v'), transaction), "ENOSPC");
  EXPECT_EQ(hostile.ask(XS_MKDIR, "data/much" + chain_of(1010) + "|", transaction), "ENOSPC");
  EXPECT_EQ(hostile.commit(transaction), "OK|");
  EXPECT_EQ(dom0.ask(XS_DIRECTORY, home_of(5) + "/data|"), "good|");
  EXPECT_EQ(count_below(home_of(5) + "/data"), 2u);
  EXPECT_EQ(dom0.ask(XS_READ, home_of(5) + "/data/bad" + chain_of(50) + "|"), "ENOENT");
}

TEST_F(NodeAdvisories, Xsa415AParentRemovedMeanwhileLeavesNoOrphans) {
  RingGuest hostile = guest(5);
  ASSERT_EQ(hostile.ask(XS_MKDIR, "data/parent|"), "OK|");
  const uint32_t transaction = hostile.begin();
  ASSERT_EQ(hostile.ask(XS_WRITE, "data/parent/child/below|1", transaction), "OK|");
  ASSERT_EQ(hostile.ask(XS_RM, "data/parent|"), "OK|");
  const std::string end = hostile.commit(transaction);
  const std::string names = dom0.ask(XS_DIRECTORY, home_of(5) + "/data|");
  // Either it did not happen, or it made its parents as well.
  if (end == "OK|") {
    EXPECT_EQ(names, "parent|");
    EXPECT_EQ(dom0.ask(XS_READ, home_of(5) + "/data/parent/child/below|"), "1");
  } else {
    EXPECT_EQ(end, "EAGAIN");
    EXPECT_EQ(names, "");
  }
}

// Chains far deeper than the stack of a daemon that recursed with large frames would bear.
TEST_F(NodeAdvisories, Xsa418TheDeepestTreeIsMadeListedAndRemoved) {
  RingGuest hostile = guest(5);
  const std::string deep = "data" + chain_of(990);
  ASSERT_EQ(hostile.ask(XS_WRITE, deep + "|bottom"), "OK|");
  EXPECT_EQ(hostile.ask(XS_READ, deep + "|"), "bottom");
  ASSERT_EQ(hostile.ask(XS_WATCH, deep + "|t|"), "OK|");
  EXPECT_EQ(hostile.events().size(), 1u);
  const uint32_t transaction = hostile.begin();
  ASSERT_EQ(hostile.ask(XS_WRITE, deep + "|again", transaction), "OK|");
  ASSERT_EQ(hostile.commit(transaction), "OK|");
  ASSERT_EQ(hostile.ask(XS_RM, "data/a|"), "OK|");
  EXPECT_EQ(dom0.ask(XS_DIRECTORY, home_of(5) + "/data|"), "");
  // Dom0's paths are the deepest of all. Made, given away and taken with their owner.
  const std::string deepest = "/top" + chain_of((kAbsolutePathMax - 4) / 2);
  ASSERT_EQ(dom0.ask(XS_WRITE, deepest + "|x"), "OK|");
  ASSERT_EQ(dom0.ask(XS_SET_PERMS, "/top|n5|"), "OK|");
  release(5);
  EXPECT_EQ(dom0.ask(XS_READ, "/top|"), "ENOENT");
}

TEST_F(NodeAdvisories, Xsa421NodesMadeAndRemovedInOneTransactionAreCountedRight) {
  RingGuest hostile = guest(5);
  for (int round = 0; round < 50; ++round) {
    const uint32_t transaction = hostile.begin();
    ASSERT_EQ(hostile.ask(XS_WRITE, "data/kept" + std::to_string(round) + "|1", transaction), "OK|");
    for (int i = 0; i < 40; ++i) {
      ASSERT_EQ(hostile.ask(XS_WRITE, "data/t/" + std::to_string(i) + "|1", transaction), "OK|");
    }
    ASSERT_EQ(hostile.ask(XS_RM, "data/t|", transaction), "OK|");
    ASSERT_EQ(hostile.commit(transaction), "OK|");
  }
  EXPECT_EQ(count_below(home_of(5) + "/data"), 50u);
  EXPECT_EQ(nodes_left(hostile), Quota{}.nodes - 51u);  // data and the 50
}

TEST_F(NodeAdvisories, Xsa421TransactionsTogetherExceedNoQuota) {
  RingGuest hostile = guest(5);
  std::vector<uint32_t> open;
  for (int t = 0; t < 5; ++t) {
    open.push_back(hostile.begin());
    for (int i = 0; i < 400; ++i) {
      const std::string path = "data/t" + std::to_string(t) + "/" + std::to_string(i);
      ASSERT_EQ(hostile.ask(XS_WRITE, path + "|1", open.back()), "OK|");
    }
  }
  unsigned committed = 0;
  for (const uint32_t transaction : open) committed += hostile.commit(transaction) == "OK|";
  EXPECT_EQ(committed, 2u);
  EXPECT_LE(count_below(home_of(5)), Quota{}.nodes + 1);
}

TEST_F(NodeAdvisories, Xsa440NodesThatDom0RemovesDuringATransactionUpsetNoCount) {
  RingGuest hostile = guest(5);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(hostile.ask(XS_WRITE, "data/n/" + std::to_string(i) + "|1"), "OK|");
  // The transaction removes more than the guest has left when it commits.
  const uint32_t transaction = hostile.begin();
  ASSERT_EQ(hostile.ask(XS_RM, "data/n|", transaction), "OK|");
  ASSERT_EQ(hostile.ask(XS_WRITE, "data/m|1", transaction), "OK|");
  ASSERT_EQ(dom0.ask(XS_RM, home_of(5) + "/data|"), "OK|");
  const std::string end = hostile.commit(transaction);
  EXPECT_TRUE(end == "OK|" || end == "EAGAIN") << end;
  ASSERT_EQ(dom0.ask(XS_MKDIR, home_of(5) + "/data|"), "OK|");
  ASSERT_EQ(dom0.ask(XS_SET_PERMS, home_of(5) + "/data|n5|"), "OK|");
  EXPECT_EQ(nodes_left(hostile), Quota{}.nodes - 1u);
}

TEST_F(NodeAdvisories, Xsa440AnAccountBelowNothingIsNotOverItsQuota) {
  RingGuest hostile = guest(5);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(hostile.ask(XS_WRITE, "data/n/" + std::to_string(i) + "|1"), "OK|");
  const uint32_t transaction = hostile.begin();
  ASSERT_EQ(hostile.ask(XS_RM, "data/n|", transaction), "OK|");
  // Now the transaction has removed more than there is left outside of it.
  ASSERT_EQ(dom0.ask(XS_RM, home_of(5) + "/data/n|"), "OK|");
  EXPECT_EQ(hostile.ask(XS_WRITE, "data/m|1", transaction), "OK|");
  EXPECT_EQ(hostile.ask(XS_MKDIR, "data/o|", transaction), "OK|");
  EXPECT_EQ(hostile.ask(XS_WRITE, "data/m|" + std::string(1000, 'v'), transaction), "OK|");
}

TEST_F(NodeAdvisories, Xsa326TransactionsHaveQuotas) {
  RingGuest hostile = guest(5);
  std::vector<uint32_t> open;
  for (int i = 0; i < 100; ++i) {
    const std::string reply = hostile.ask(XS_TRANSACTION_START, "|");
    if (reply == "ENOSPC") break;
    open.push_back(static_cast<uint32_t>(std::stoul(reply)));
  }
  EXPECT_EQ(open.size(), Quota{}.transactions);
  unsigned accesses = 0;
  while (accesses < 5000 && hostile.ask(XS_READ, "data/n" + std::to_string(accesses) + "|", open[0]) == "ENOENT") {
    ++accesses;
  }
  EXPECT_LE(accesses, Quota{}.nodes_per_transaction);
  unsigned writes = 0;
  const std::string value(1900, 'v');
  while (writes < 5000 && hostile.ask(XS_WRITE, "data/n" + std::to_string(writes) + "|" + value, open[1]) == "OK|")
    ++writes;
  EXPECT_LE(writes * value.size(), Quota{}.bytes_per_transaction);
}

TEST_F(NodeAdvisories, Xsa272ANodesSizeIsBoundedHoweverItGrows) {
  RingGuest hostile = guest(5);
  EXPECT_EQ(hostile.ask(XS_WRITE, "data/x|" + std::string(Quota{}.entry_bytes, 'v')), "ENOSPC");
  ASSERT_EQ(hostile.ask(XS_WRITE, "data/x|" + std::string(1500, 'v')), "OK|");
  EXPECT_EQ(hostile.ask(XS_MKDIR, "data/x/" + std::string(600, 'c') + "|"), "ENOSPC");
  EXPECT_EQ(hostile.ask(XS_SET_PERMS, "data/x|n5|r1|r2|r3|r4|r6|r7|"), "ENOSPC");
  unsigned children = 0;
  while (children < 5000 && hostile.ask(XS_MKDIR, "data/x/" + std::to_string(children) + "|") == "OK|") ++children;
  EXPECT_LT(children, 600u);
  EXPECT_LT(hostile.ask(XS_DIRECTORY, "data/x|").size() + 1500, Quota{}.entry_bytes);
}

TEST_F(NodeAdvisories, Xsa206AGuestThatWritesAllTheTimeDoesNotStopDom0sTransactions) {
  RingGuest hostile = guest(5);
  make_home(6);
  for (int round = 0; round < 50; ++round) {
    const uint32_t transaction = dom0.begin();
    ASSERT_EQ(dom0.ask(XS_DIRECTORY, "/local/domain|", transaction), "5|6|");
    ASSERT_EQ(dom0.ask(XS_WRITE, home_of(6) + "/device/vif/0|" + std::to_string(round), transaction), "OK|");
    ASSERT_EQ(dom0.ask(XS_WRITE, home_of(5) + "/device/vif/0|" + std::to_string(round), transaction), "OK|");
    ASSERT_EQ(hostile.ask(XS_WRITE, "data/x|" + std::to_string(round)), "OK|");
    ASSERT_EQ(hostile.ask(XS_WRITE, "data/y/" + std::to_string(round) + "|1"), "OK|");
    EXPECT_EQ(dom0.commit(transaction), "OK|") << round;
  }
}

// What a toolstack forwards of a guest's keys is bounded by what the guest may store.
TEST_F(NodeAdvisories, Xsa354WhatAWatcherHearsOfAGuestIsBoundedByItsRequests) {
  RingGuest hostile = guest(5);
  ASSERT_EQ(dom0.ask(XS_WATCH, home_of(5) + "/data|t|"), "OK|");
  dom0.events();
  for (int i = 0; i < 100; ++i) ASSERT_EQ(hostile.ask(XS_WRITE, "data/k/" + std::to_string(i) + "|1"), "OK|");
  EXPECT_EQ(dom0.events().size(), 100u);
  ASSERT_EQ(hostile.ask(XS_RM, "data/k|"), "OK|");
  EXPECT_EQ(dom0.events().size(), 1u);
}

}  // namespace
}  // namespace xenopolis::xenstore
