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

}  // namespace
}  // namespace xenopolis::xenstore
