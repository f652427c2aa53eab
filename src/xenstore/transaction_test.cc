#include "xenstore/transaction.h"

#include <gmock/gmock.h>

#include "xenstore/test_client.h"

namespace xenopolis::xenstore {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// One request inside the transaction ("ours") or beside it ("theirs").
struct Step {
  uint32_t type;
  std::string payload;
};

struct Row {
  std::string claim;
  std::vector<Step> before, ours, theirs;
  std::string verdict;
};

TEST(Transaction, ConflictsOnlyWhereWhatItSawChanged) {
  const Row rows[] = {
      {"nothing else happened", {}, {{XS_READ, "/a|"}, {XS_WRITE, "/b|1"}}, {}, "OK|"},
      {"both add children to one directory",
       {{XS_MKDIR, "/d|"}},
       {{XS_WRITE, "/d/x|1"}},
       {{XS_WRITE, "/d/y|1"}},
       "OK|"},
      {"both write one node", {{XS_WRITE, "/a|0"}}, {{XS_WRITE, "/a|1"}}, {{XS_WRITE, "/a|2"}}, "OK|"},
      {"both make one directory", {}, {{XS_MKDIR, "/a|"}}, {{XS_MKDIR, "/a|"}}, "OK|"},
      {"a node that was read is written", {{XS_WRITE, "/a|0"}}, {{XS_READ, "/a|"}}, {{XS_WRITE, "/a|1"}}, "EAGAIN"},
      {"a node that was read is removed", {{XS_WRITE, "/a|0"}}, {{XS_READ, "/a|"}}, {{XS_RM, "/a|"}}, "EAGAIN"},
      {"a node that was read is removed and comes back",
       {{XS_WRITE, "/a|0"}},
       {{XS_READ, "/a|"}},
       {{XS_RM, "/a|"}, {XS_WRITE, "/a|0"}},
       "EAGAIN"},
      {"a node that was missed appears", {}, {{XS_READ, "/a/b|"}}, {{XS_WRITE, "/a/b|1"}}, "EAGAIN"},
      {"a node that was missed is still missing", {}, {{XS_READ, "/a|"}}, {{XS_WRITE, "/b|1"}}, "OK|"},
      {"a value was read and a child appears", {{XS_MKDIR, "/d|"}}, {{XS_READ, "/d|"}}, {{XS_WRITE, "/d/x|1"}}, "OK|"},
      {"a list was read and a child appears",
       {{XS_MKDIR, "/d|"}},
       {{XS_DIRECTORY, "/d|"}},
       {{XS_WRITE, "/d/x|1"}},
       "EAGAIN"},
      {"a list was read and a child changes",
       {{XS_WRITE, "/d/x|0"}},
       {{XS_DIRECTORY, "/d|"}},
       {{XS_WRITE, "/d/x|1"}},
       "OK|"},
      {"a list was read and may not be read any more",
       {{XS_MKDIR, "/d|"}},
       {{XS_DIRECTORY, "/d|"}},
       {{XS_SET_PERMS, "/d|n0|"}},
       "EAGAIN"},
      {"rights were read and change",
       {{XS_MKDIR, "/d|"}},
       {{XS_GET_PERMS, "/d|"}},
       {{XS_SET_PERMS, "/d|n0|r1|"}},
       "EAGAIN"},
      {"a part of a list was read and a child goes",
       {{XS_MKDIR, "/d/x|"}},
       {{XS_DIRECTORY_PART, "/d|0|"}},
       {{XS_RM, "/d/x|"}},
       "EAGAIN"},
      {"a change was refused for want of a node that appears", {}, {{XS_RM, "/a/b|"}}, {{XS_MKDIR, "/a|"}}, "EAGAIN"},
      {"a change would be refused now", {{XS_MKDIR, "/a|"}}, {{XS_SET_PERMS, "/a|n0|"}}, {{XS_RM, "/a|"}}, "EAGAIN"},
      {"a removal finds nothing any more", {{XS_MKDIR, "/a/b|"}}, {{XS_RM, "/a/b|"}}, {{XS_RM, "/a/b|"}}, "OK|"},
      {"a removal finds not even the parent", {{XS_MKDIR, "/a/b|"}}, {{XS_RM, "/a/b|"}}, {{XS_RM, "/a|"}}, "EAGAIN"},
      {"its own node's rights came from a parent whose rights change",
       {{XS_MKDIR, "/d|"}},
       {{XS_MKDIR, "/d/x|"}, {XS_GET_PERMS, "/d/x|"}},
       {{XS_SET_PERMS, "/d|n0|r1|"}},
       "EAGAIN"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.claim);
    Server server;
    TestClient us(server), them(server);
    for (const Step& step : row.before) ASSERT_EQ(us.ask(step.type, step.payload), "OK|");
    const uint32_t transaction = us.begin();
    for (const Step& step : row.ours) us.ask(step.type, step.payload, transaction);
    for (const Step& step : row.theirs) them.ask(step.type, step.payload);
    EXPECT_EQ(us.commit(transaction), row.verdict);
    EXPECT_EQ(us.commit(transaction), "ENOENT");
  }
}

// Ours in a transaction, theirs beside, before our end: c conflicts (EAGAIN), . merges. docs/compatibility.md shows the
// same table.
TEST(Transaction, MergesOrConflictsAsTheTableSays) {
  const std::vector<Step> theirs = {
      {XS_WRITE, "/d/a|9"},        {XS_WRITE, "/d/a/k|9"}, {XS_WRITE, "/d/a/new|9"}, {XS_WRITE, "/d/n|9"},
      {XS_WRITE, "/d/n/deep|9"},   {XS_WRITE, "/d/m|9"},   {XS_MKDIR, "/d/a|"},      {XS_RM, "/d/a|"},
      {XS_RM, "/d/a/k|"},          {XS_RM, "/d/n|"},       {XS_RM, "/d|"},           {XS_SET_PERMS, "/d/a|n0|r7|"},
      {XS_SET_PERMS, "/d|n0|r7|"},
  };
  struct Line {
    Step ours;
    std::string verdicts;  // one for each of theirs
  };
  const std::vector<Line> lines = {
      {{XS_READ, "/d/a|"}, "c......c..cc."},      {{XS_DIRECTORY, "/d/a|"}, "..c....cc.cc."},
      {{XS_GET_PERMS, "/d/a|"}, ".......c..cc."}, {{XS_DIRECTORY, "/d|"}, "...ccc.c..c.c"},
      {{XS_READ, "/d/n|"}, "...cc.....c.c"},      {{XS_WRITE, "/d/a|1"}, "............."},
      {{XS_WRITE, "/d/n|1"}, "............."},    {{XS_MKDIR, "/d/a|"}, "............."},
      {{XS_MKDIR, "/d/n|"}, "............."},     {{XS_RM, "/d/a|"}, "..........c.."},
      {{XS_RM, "/d/n|"}, "..........c.."},        {{XS_SET_PERMS, "/d/a|n0|r6|"}, ".......c..c.."},
  };
  for (const Line& line : lines) {
    std::string verdicts;
    for (const Step& change : theirs) {
      Server server;
      TestClient us(server), them(server);
      ASSERT_EQ(us.ask(XS_WRITE, "/d/a/k|0"), "OK|");
      const uint32_t transaction = us.begin();
      us.ask(line.ours.type, line.ours.payload, transaction);
      ASSERT_EQ(them.ask(change.type, change.payload), "OK|");
      const std::string verdict = us.commit(transaction);
      ASSERT_TRUE(verdict == "OK|" || verdict == "EAGAIN");
      verdicts.push_back(verdict == "OK|" ? '.' : 'c');
    }
    EXPECT_EQ(verdicts, line.verdicts) << line.ours.type << " " << line.ours.payload;
  }
}

TEST(Transaction, SeesItsOwnChangesAndNobodyElseDoesBeforeItsEnd) {
  Server server;
  TestClient us(server), them(server);
  them.ask(XS_WRITE, "/old|0");
  them.ask(XS_WATCH, "/|w|");
  them.events();
  const uint32_t transaction = us.begin();
  EXPECT_EQ(us.ask(XS_WRITE, "/a/b|1", transaction), "OK|");
  EXPECT_EQ(us.ask(XS_RM, "/old|", transaction), "OK|");
  EXPECT_EQ(us.ask(XS_READ, "/a/b|", transaction), "1");
  EXPECT_EQ(us.ask(XS_READ, "/old|", transaction), "ENOENT");
  EXPECT_EQ(us.ask(XS_READ, "/a/b|"), "ENOENT");
  EXPECT_EQ(them.ask(XS_READ, "/old|"), "0");
  EXPECT_EQ(them.ask(XS_WRITE, "/unrelated|1"), "OK|");
  EXPECT_EQ(us.ask(XS_READ, "/unrelated|", transaction), "ENOENT");
  EXPECT_THAT(them.events(), ElementsAre("/unrelated w"));
  EXPECT_EQ(us.ask(XS_TRANSACTION_START, "|", transaction), "EBUSY");
}

TEST(Transaction, CommitsAllOfItsChangesAndTheirEventsOrNone) {
  Server server;
  TestClient us(server), them(server);
  them.ask(XS_WATCH, "/|w|");
  them.events();
  const uint32_t good = us.begin();
  us.ask(XS_WRITE, "/a|1", good);
  us.ask(XS_WRITE, "/b|2", good);
  EXPECT_THAT(them.events(), IsEmpty());
  EXPECT_EQ(us.commit(good), "OK|");
  EXPECT_THAT(them.events(), ElementsAre("/a w", "/b w"));

  const uint32_t bad = us.begin();
  us.ask(XS_READ, "/a|", bad);
  us.ask(XS_WRITE, "/c|3", bad);
  them.ask(XS_WRITE, "/a|9");
  them.events();
  EXPECT_EQ(us.commit(bad), "EAGAIN");
  EXPECT_EQ(us.ask(XS_READ, "/c|"), "ENOENT");

  const uint32_t dropped = us.begin();
  us.ask(XS_WRITE, "/c|3", dropped);
  EXPECT_EQ(us.ask(XS_TRANSACTION_END, "F|", dropped), "OK|");
  EXPECT_EQ(us.ask(XS_READ, "/c|"), "ENOENT");
  EXPECT_THAT(them.events(), IsEmpty());
}

TEST(Transaction, CannotMakeMoreNodesThanTheQuotaAtItsEnd) {
  Server server(nullptr, Quota{.nodes = 5});
  TestClient dom0(server), guest(server, Subject{5, {}});
  dom0.ask(XS_MKDIR, "/d|");
  dom0.ask(XS_SET_PERMS, "/d|n5|");  // the first of its five
  const uint32_t transaction = guest.begin();
  for (const std::string name : {"1", "2", "3"}) EXPECT_EQ(guest.ask(XS_MKDIR, "/d/" + name + "|", transaction), "OK|");
  EXPECT_EQ(guest.ask(XS_MKDIR, "/d/8|"), "OK|");
  EXPECT_EQ(guest.ask(XS_MKDIR, "/d/4|", transaction), "ENOSPC");
  EXPECT_EQ(guest.commit(transaction), "OK|");
  EXPECT_EQ(guest.ask(XS_MKDIR, "/d/9|"), "ENOSPC");
  EXPECT_EQ(guest.ask(XS_DIRECTORY, "/d|"), "1|2|3|8|");
}

TEST(Transaction, ThatHasExceededAQuotaCannotCommit) {
  Server server(nullptr, Quota{.nodes_per_transaction = 3});
  TestClient dom0(server), guest(server, Subject{5, {}});
  dom0.ask(XS_MKDIR, "/d|");
  dom0.ask(XS_SET_PERMS, "/d|n5|");
  const uint32_t transaction = guest.begin();
  for (int i = 0; i < 100; ++i) ASSERT_EQ(guest.ask(XS_WRITE, "/d|" + std::to_string(i), transaction), "OK|");
  EXPECT_EQ(guest.ask(XS_WRITE, "/d/1|", transaction), "OK|");
  EXPECT_EQ(guest.ask(XS_WRITE, "/d/2|", transaction), "OK|");
  EXPECT_EQ(guest.ask(XS_WRITE, "/d/3|", transaction), "ENOSPC");
  EXPECT_EQ(guest.ask(XS_READ, "/d/1|", transaction), "");
  EXPECT_EQ(guest.commit(transaction), "ENOMEM");
  EXPECT_EQ(guest.ask(XS_DIRECTORY, "/d|"), "");
}

TEST(Transaction, ThatStaysOpenKeepsNoOldVersions) {
  Server server;
  TestClient us(server), them(server);
  for (int i = 0; i < 100; ++i) them.ask(XS_WRITE, "/d/" + std::to_string(i) + "|0");
  us.ask(XS_WRITE, "/ours/read|1");
  std::vector<uint32_t> open;
  const Node* old_root = server.store().committed().root.get();
  for (int i = 0; i < 100; ++i) {
    open.push_back(us.begin());
    us.ask(XS_READ, "/ours/read|", open.back());
    us.ask(XS_WRITE, "/ours/" + std::to_string(i) + "|mine", open.back());
  }
  EXPECT_EQ(server.store().committed().root.get(), old_root);
  EXPECT_GT(old_root->use_count(), 1u);
  const std::string value(4000, 'v');
  const uint64_t before = displaced_bytes();
  while (displaced_bytes() - before < 2 * kOldNodeBytesMax) {
    const uint32_t short_one = us.begin();
    them.ask(XS_WRITE, "/d/50|" + value);
    us.commit(short_one);
  }
  // Nobody but the store refers to the current version, so changes are made in place.
  them.ask(XS_WRITE, "/d/50|last");
  EXPECT_EQ(server.store().committed().root->use_count(), 1u);
  // The transactions go on, and see what they had done.
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(us.ask(XS_READ, "/ours/" + std::to_string(i) + "|", open[i]), "mine");
    EXPECT_EQ(us.commit(open[i]), "OK|");
  }
  EXPECT_EQ(us.ask(XS_READ, "/ours/99|"), "mine");
}

TEST(Transaction, ThatIsBoundToFailStillSeesItsOwnChanges) {
  Server server;
  server.store().keep_old_nodes(0);
  TestClient us(server), them(server);
  them.ask(XS_WRITE, "/read|0");
  const uint32_t transaction = us.begin();
  EXPECT_EQ(us.ask(XS_READ, "/read|", transaction), "0");
  EXPECT_EQ(us.ask(XS_MKDIR, "/new|", transaction), "OK|");
  EXPECT_EQ(them.ask(XS_WRITE, "/read|1"), "OK|");
  EXPECT_EQ(us.ask(XS_SET_PERMS, "/new|n0|r5|", transaction), "OK|");
  EXPECT_EQ(us.ask(XS_GET_PERMS, "/new|", transaction), "n0|r5|");
  EXPECT_EQ(us.commit(transaction), "EAGAIN");
  EXPECT_EQ(us.ask(XS_READ, "/new|"), "ENOENT");
}

TEST(Transaction, IsRefusedWhenItGaveRightsToADomainThatHasGone) {
  TestLink link;
  Server server(&link);
  TestClient us(server);
  EXPECT_EQ(us.ask(XS_INTRODUCE, "5|1|1|"), "OK|");
  EXPECT_EQ(us.ask(XS_MKDIR, "/d|"), "OK|");
  const uint32_t transaction = us.begin();
  EXPECT_EQ(us.ask(XS_SET_PERMS, "/d|n5|", transaction), "OK|");
  EXPECT_EQ(us.ask(XS_RELEASE, "5|"), "OK|");
  EXPECT_EQ(us.commit(transaction), "EAGAIN");
  EXPECT_EQ(us.ask(XS_GET_PERMS, "/d|"), "n0|");
}

}  // namespace
}  // namespace xenopolis::xenstore
