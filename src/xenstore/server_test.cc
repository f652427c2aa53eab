// What a client says and hears: the requests, one row each.
#include <gmock/gmock.h>

#include "xenstore/test_client.h"

namespace xenopolis::xenstore {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

struct Row {
  uint32_t type;
  std::string payload;
  std::string reply;
};

void play(TestClient& client, std::initializer_list<Row> rows) {
  for (const Row& row : rows) EXPECT_EQ(client.ask(row.type, row.payload), row.reply) << row.type << " " << row.payload;
}

class ServerTest : public testing::Test {
 protected:
  void introduce(DomId domid) { ASSERT_EQ(dom0.ask(XS_INTRODUCE, std::to_string(domid) + "|1|2|"), "OK|"); }
  // A home that the domain may read, with a directory of its own.
  void make_home(DomId domid) {
    const std::string id = std::to_string(domid);
    play(dom0, {{XS_MKDIR, "/local/domain/" + id + "|", "OK|"},
                {XS_SET_PERMS, "/local/domain/" + id + "|n0|r" + id + "|", "OK|"},
                {XS_MKDIR, "/local/domain/" + id + "/data|", "OK|"},
                {XS_SET_PERMS, "/local/domain/" + id + "/data|n" + id + "|", "OK|"}});
  }

  TestLink link;
  Server server{&link};
  TestClient dom0{server};
};

TEST_F(ServerTest, NodesAreWrittenReadListedAndRemoved) {
  play(dom0, {
                 {XS_DIRECTORY, "/|", "tool|"},
                 {XS_READ, "/tool/xenstored|", ""},
                 {XS_READ, "/a|", "ENOENT"},
                 {XS_WRITE, "/a/b|value", "OK|"},
                 {XS_READ, "/a/b|", "value"},
                 {XS_READ, "/a|", ""},
                 {XS_WRITE, "/a/b|with|nuls|", "OK|"},
                 {XS_READ, "/a/b|", "with|nuls|"},
                 {XS_MKDIR, "/a/b|", "OK|"},
                 {XS_READ, "/a/b|", "with|nuls|"},
                 {XS_MKDIR, "/a/0/x|", "OK|"},
                 {XS_DIRECTORY, "/a|", "0|b|"},
                 {XS_DIRECTORY, "/a/b|", ""},
                 {XS_RM, "/a/nothing|", "OK|"},
                 {XS_RM, "/b/nothing|", "ENOENT"},
                 {XS_RM, "/a/0|", "OK|"},
                 {XS_READ, "/a/0/x|", "ENOENT"},
                 {XS_DIRECTORY, "/a|", "b|"},
                 {XS_RM, "/|", "EINVAL"},
                 {XS_WRITE, "relative|1", "OK|"},
                 {XS_READ, "/local/domain/0/relative|", "1"},
             });
}

TEST_F(ServerTest, MalformedRequestsAreAnsweredByErrors) {
  play(dom0, {
                 {XS_READ, "", "EINVAL"},
                 {XS_READ, "/tool", "EINVAL"},
                 {XS_READ, "/tool|x", "EINVAL"},
                 {XS_READ, "/a//b|", "EINVAL"},
                 {XS_WRITE, "/a", "EINVAL"},
                 {XS_WRITE, "|x", "EINVAL"},
                 {XS_RM, "|", "EINVAL"},
                 {XS_WATCH, "/a|", "EINVAL"},
                 {XS_WATCH, "/a|t|1|x|", "EINVAL"},
                 {XS_WATCH, "/a|t|x|", "EINVAL"},
                 {XS_WATCH, "/a|t|-1|", "EINVAL"},
                 {XS_WATCH, "@a//b|t|", "EINVAL"},
                 {XS_WATCH, "@a/|t|", "EINVAL"},
                 {XS_UNWATCH, "/a|t|1|", "EINVAL"},
                 {XS_UNWATCH, "/a|t|", "ENOENT"},
                 {XS_SET_PERMS, "/tool|", "EINVAL"},
                 {XS_SET_PERMS, "/tool|x1|", "EINVAL"},
                 {XS_SET_PERMS, "/tool|r|", "EINVAL"},
                 {XS_SET_PERMS, "/tool|r65536|", "EINVAL"},
                 {XS_SET_PERMS, "@nothing|n0|", "ENOENT"},
                 {XS_GET_PERMS, "@nothing|", "ENOENT"},
                 {XS_DIRECTORY_PART, "/|", "EINVAL"},
                 {XS_DIRECTORY_PART, "/|x|", "EINVAL"},
                 {XS_TRANSACTION_END, "T|", "ENOENT"},
                 {XS_TRANSACTION_END, "X|", "EINVAL"},
                 {XS_INTRODUCE, "1|2|", "EINVAL"},
                 {XS_INTRODUCE, "0|1|2|", "EINVAL"},
                 {XS_INTRODUCE, "32752|1|2|", "EINVAL"},
                 {XS_INTRODUCE, "1|1|0|", "EINVAL"},
                 {XS_INTRODUCE, "1|1|666|", "EINVAL"},
                 {XS_RELEASE, "1|", "ENOENT"},
                 {XS_RELEASE, "0|", "EINVAL"},
                 {XS_GET_DOMAIN_PATH, "12|", "/local/domain/12|"},
                 {XS_WATCH_EVENT, "a|b|", "ENOSYS"},
                 {XS_ERROR, "EINVAL|", "ENOSYS"},
                 {XS_SET_TARGET + 1, "", "ENOSYS"},
                 {kXsTypeCount, "", "ENOSYS"},
                 {XS_INVALID, "", "ENOSYS"},
                 {0xffffffff, "", "ENOSYS"},
             });
  EXPECT_EQ(dom0.ask(XS_READ, "/tool|", 99), "ENOENT");
}

TEST_F(ServerTest, ADirectoryLargerThanAPayloadIsReadInParts) {
  std::string expected;
  for (int i = 1000; i < 3000; ++i) {
    const std::string name = "domain-" + std::to_string(i);
    ASSERT_EQ(dom0.ask(XS_MKDIR, "/big/" + name + "|"), "OK|");
    expected += name + "|";
  }
  EXPECT_EQ(dom0.ask(XS_DIRECTORY, "/big|"), "E2BIG");
  std::string all;
  for (;;) {
    const std::string part = dom0.ask(XS_DIRECTORY_PART, "/big|" + std::to_string(all.size()) + "|");
    ASSERT_LE(part.size(), kPayloadMax);
    all += part.substr(part.find('|') + 1);
    if (all.size() < 2 || all.ends_with("||")) break;
  }
  EXPECT_EQ(all, expected + "|");
  const std::string beyond = dom0.ask(XS_DIRECTORY_PART, "/big|99999999|");
  EXPECT_TRUE(beyond.ends_with("||")) << beyond;
}

TEST_F(ServerTest, AGuestMayWhatTheRightsSay) {
  make_home(5);
  TestClient guest(server, Subject{5, {}});
  play(dom0, {{XS_WRITE, "/local/domain/5/name|guest", "OK|"}, {XS_WRITE, "/secret|x", "OK|"}});
  play(guest, {
                  {XS_READ, "name|", "guest"},
                  {XS_WRITE, "name|other", "EACCES"},
                  {XS_RM, "name|", "EACCES"},
                  {XS_WRITE, "new|x", "EACCES"},
                  {XS_READ, "/secret|", "EACCES"},
                  {XS_READ, "/nothing|", "EACCES"},  // the root does not let it know
                  {XS_READ, "nothing|", "ENOENT"},
                  {XS_DIRECTORY, "/local/domain|", "EACCES"},
                  {XS_WRITE, "data/a/b|1", "OK|"},
                  {XS_READ, "/local/domain/5/data/a/b|", "1"},
                  {XS_GET_PERMS, "data/a|", "n5|"},
                  {XS_SET_PERMS, "data/a|n5|r7|", "OK|"},
                  {XS_GET_PERMS, "data/a|", "n5|r7|"},
                  {XS_SET_PERMS, "data/a|n7|", "EPERM"},
                  {XS_SET_PERMS, "name|n5|", "EACCES"},
                  {XS_SET_PERMS, "@releaseDomain|n5|", "EACCES"},
                  {XS_INTRODUCE, "6|1|2|", "EACCES"},
                  {XS_RELEASE, "5|", "EACCES"},
                  {XS_IS_DOMAIN_INTRODUCED, "5|", "EACCES"},
                  {XS_SET_TARGET, "5|6|", "EACCES"},
                  {XS_RESUME, "5|", "EACCES"},
                  {XS_CONTROL, "help|", "EACCES"},
                  {kXsSetFeature, "5|0|", "EACCES"},
                  {kXsGetQuota, "nodes|", "EACCES"},
                  {kXsSetQuota, "nodes|1|", "EACCES"},
                  {XS_GET_PERMS, "@nothing|", "EACCES"},
              });
  play(dom0, {{XS_MKDIR, "/shared|", "OK|"}, {XS_SET_PERMS, "/shared|n0|b5|", "OK|"}});
  play(guest, {{XS_WRITE, "/shared|x", "OK|"},  // what it may write it may not give away
               {XS_SET_PERMS, "/shared|n0|b5|r7|", "EACCES"}});
  TestClient other(server, Subject{7, {}});
  play(other, {{XS_GET_PERMS, "/local/domain/5/data/a|", "n5|r7|"},
               {XS_WRITE, "/local/domain/5/data/a|x", "EACCES"},
               {XS_SET_PERMS, "/local/domain/5/data/a|n5|b7|", "EACCES"},
               {XS_READ, "/local/domain/5/data/a/b|", "EACCES"}});
}

TEST_F(ServerTest, AWatchFiresAtOnceAndForEveryChangeBelowItsPath) {
  EXPECT_EQ(dom0.ask(XS_WATCH, "/a|t1|"), "OK|");
  EXPECT_THAT(dom0.events(), ElementsAre("/a t1"));
  EXPECT_EQ(dom0.ask(XS_WATCH, "/a|t1|"), "EEXIST");
  EXPECT_EQ(dom0.ask(XS_WATCH, "/a/b|t2|"), "OK|");
  EXPECT_EQ(dom0.ask(XS_WATCH, "/a/b/c|t3|"), "OK|");
  EXPECT_EQ(dom0.ask(XS_WATCH, "/|root|"), "OK|");
  dom0.events();
  const struct {
    Row request;
    std::vector<std::string> events;
  } rows[] = {
      {{XS_WRITE, "/x|1", "OK|"}, {"/x root"}},
      {{XS_WRITE, "/ab|1", "OK|"}, {"/ab root"}},
      {{XS_WRITE, "/a/b/c/d|1", "OK|"}, {"/a/b/c/d t1", "/a/b/c/d t2", "/a/b/c/d t3", "/a/b/c/d root"}},
      {{XS_MKDIR, "/a/b|", "OK|"}, {}},
      {{XS_READ, "/a/b|", ""}, {}},
      {{XS_SET_PERMS, "/a/b|n0|r3|", "OK|"}, {"/a/b t1", "/a/b t2", "/a/b root"}},
      {{XS_RM, "/a/none|", "OK|"}, {}},
      {{XS_RM, "/a|", "OK|"}, {"/a t1", "/a/b t2", "/a/b/c t3", "/a root"}},
      {{XS_UNWATCH, "/a|t2|", "ENOENT"}, {}},
      {{XS_UNWATCH, "/a|t1|", "OK|"}, {}},
      {{XS_MKDIR, "/a|", "OK|"}, {"/a root"}},
      {{XS_RESET_WATCHES, "|", "OK|"}, {}},
      {{XS_MKDIR, "/a/b|", "OK|"}, {}},
  };
  for (const auto& row : rows) {
    play(dom0, {row.request});
    EXPECT_THAT(dom0.events(), testing::UnorderedElementsAreArray(row.events)) << row.request.payload;
  }
  EXPECT_TRUE(server.watches().empty());
}

TEST_F(ServerTest, AGuestHearsOfWhatItMayReadInTheWordsItUsed) {
  make_home(5);
  TestClient guest(server, Subject{5, {}});
  play(guest, {{XS_WATCH, "data|rel|", "OK|"}, {XS_WATCH, "/local/domain/5|abs|", "OK|"}, {XS_WATCH, "/|all|", "OK|"}});
  EXPECT_THAT(guest.events(), ElementsAre("data rel", "/local/domain/5 abs", "/ all"));
  play(dom0, {{XS_WRITE, "/secret|x", "OK|"}, {XS_WRITE, "/local/domain/6/name|x", "OK|"}});
  EXPECT_THAT(guest.events(), IsEmpty());
  play(dom0, {{XS_WRITE, "/local/domain/5/data/x|1", "OK|"}});
  EXPECT_THAT(guest.events(),
              UnorderedElementsAre("data/x rel", "/local/domain/5/data/x abs", "/local/domain/5/data/x all"));
  // Losing the right to read is the last that it hears; then its parent, which it may read, speaks for it.
  play(dom0, {{XS_MKDIR, "/shared/x|", "OK|"}, {XS_SET_PERMS, "/shared/x|r0|", "OK|"}});
  guest.events();
  play(dom0, {{XS_SET_PERMS, "/shared/x|n0|", "OK|"}});
  EXPECT_THAT(guest.events(), ElementsAre("/shared/x all"));
  play(dom0, {{XS_WRITE, "/shared/x|1", "OK|"}});
  EXPECT_THAT(guest.events(), IsEmpty());
}

TEST_F(ServerTest, QuotasBindGuestsAndNotDom0) {
  make_home(5);
  TestClient guest(server, Subject{5, {}});
  // data itself is the first of the 1,000 nodes. Directories of few entries stay within the size of an entry.
  int written = 0;
  for (; written < 1200; ++written) {
    const std::string path = "data/" + std::to_string(written % 32) + "/" + std::to_string(written);
    if (guest.ask(XS_WRITE, path + "|x") != "OK|") break;
  }
  EXPECT_EQ(written, 1000 - 1 - 32);
  EXPECT_EQ(guest.ask(XS_WRITE, "data/0/more|x"), "ENOSPC");
  EXPECT_EQ(dom0.ask(XS_WRITE, "/local/domain/5/data/0/more|x"), "OK|");
  EXPECT_EQ(guest.ask(XS_RM, "data/1|"), "OK|");
  EXPECT_EQ(guest.ask(XS_WRITE, "data/1/more|x"), "OK|");
  EXPECT_EQ(guest.ask(XS_WRITE, "data/1/more|" + std::string(2048 - 24 - 8 - 1, 'x')), "OK|");
  EXPECT_EQ(guest.ask(XS_WRITE, "data/1/more|" + std::string(2048 - 24 - 8, 'x')), "ENOSPC");
  EXPECT_EQ(guest.ask(XS_SET_PERMS, "data/1|n5|r1|r2|r3|r4|"), "OK|");
  EXPECT_EQ(guest.ask(XS_SET_PERMS, "data/1|n5|r1|r2|r3|r4|r6|"), "ENOSPC");
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(guest.ask(XS_WATCH, "data|" + std::to_string(i) + "|"), i < 128 ? "OK|" : "ENOSPC");
    EXPECT_EQ(dom0.ask(XS_WATCH, "/a|" + std::to_string(i) + "|"), "OK|");
  }
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(guest.ask(XS_TRANSACTION_START, "|") == "ENOSPC", i >= 10) << i;
    EXPECT_NE(dom0.ask(XS_TRANSACTION_START, "|"), "ENOSPC");
  }
}

TEST_F(ServerTest, TheBytesOfAGuestsWatchesAreBounded) {
  TestClient guest(server, Subject{5, {}});
  int watches = 0;
  while (watches < 128 &&
         guest.ask(XS_WATCH, "data|" + std::to_string(watches) + std::string(2000, 't') + "|") == "OK|") {
    ++watches;
  }
  EXPECT_EQ(watches, 64 * 1024 / 2024);
  EXPECT_EQ(guest.ask(XS_UNWATCH, "data|0" + std::string(2000, 't') + "|"), "OK|");
  EXPECT_EQ(guest.ask(XS_WATCH, "data|0" + std::string(2000, 't') + "|"), "OK|");
}

TEST_F(ServerTest, AGuestsTransactionIsBounded) {
  make_home(5);
  TestClient guest(server, Subject{5, {}});
  const uint32_t transaction = guest.begin();
  // Accesses to one node count once.
  for (int i = 0; i < 5000; ++i) {
    ASSERT_EQ(guest.ask(XS_WRITE, "data/x|" + std::to_string(i), transaction), "OK|");
    ASSERT_EQ(guest.ask(XS_READ, "data/x|", transaction), std::to_string(i));
  }
  EXPECT_EQ(guest.commit(transaction), "OK|");
  EXPECT_EQ(guest.ask(XS_READ, "data/x|"), "4999");

  const uint32_t too_large = guest.begin();
  int nodes = 0;
  while (nodes < 5000 && guest.ask(XS_RM, "data/" + std::to_string(nodes) + "|", too_large) == "OK|") ++nodes;
  EXPECT_EQ(nodes, 1024);
  EXPECT_EQ(guest.ask(XS_READ, "data/x|", too_large), "ENOSPC");
  EXPECT_EQ(guest.commit(too_large), "ENOMEM");  // as with xenstored
}

TEST_F(ServerTest, ReleaseTakesAwayEverythingThatTheDomainHad) {
  make_home(5);
  EXPECT_EQ(dom0.ask(XS_WATCH, "@introduceDomain|in|"), "OK|");
  EXPECT_EQ(dom0.ask(XS_WATCH, "@releaseDomain|out|"), "OK|");
  dom0.events();
  EXPECT_EQ(dom0.ask(XS_IS_DOMAIN_INTRODUCED, "5|"), "F|");
  introduce(5);
  EXPECT_THAT(dom0.events(), ElementsAre("@introduceDomain in"));
  EXPECT_EQ(dom0.ask(XS_IS_DOMAIN_INTRODUCED, "5|"), "T|");
  EXPECT_EQ(link.guests[5].open_ports, 1u);
  play(dom0, {{XS_WRITE, "/local/domain/5/data/a|1", "OK|"},
              {XS_WRITE, "/elsewhere/b|1", "OK|"},
              {XS_SET_PERMS, "/elsewhere/b|n5|", "OK|"},
              {XS_WRITE, "/kept|1", "OK|"},
              {XS_SET_PERMS, "/kept|n0|b5|r6|", "OK|"},
              {XS_RELEASE, "5|", "OK|"},
              {XS_IS_DOMAIN_INTRODUCED, "5|", "F|"},
              {XS_RELEASE, "5|", "ENOENT"},
              {XS_DIRECTORY, "/local/domain/5|", ""},
              {XS_DIRECTORY, "/elsewhere|", ""},
              {XS_READ, "/kept|", "1"},
              {XS_GET_PERMS, "/kept|", "n0|r6|"}});
  EXPECT_THAT(dom0.events(), ElementsAre("@releaseDomain out"));
  EXPECT_EQ(link.guests[5].open_ports, 0u);
  // The next domain of that number has none of its predecessor's rights, only those given since.
  TestClient successor(server, Subject{5, {}});
  EXPECT_EQ(successor.ask(XS_READ, "/kept|"), "EACCES");
  EXPECT_EQ(successor.ask(XS_READ, "/local/domain/5|"), "EACCES");
  EXPECT_EQ(dom0.ask(XS_SET_PERMS, "/kept|n0|r5|"), "OK|");
  EXPECT_EQ(successor.ask(XS_READ, "/kept|"), "1");
}

TEST_F(ServerTest, NodesOfADeadDomainGoWhereverOwnershipMovedThem) {
  introduce(5);
  play(dom0, {{XS_MKDIR, "/a/b/c/d|", "OK|"},
              {XS_SET_PERMS, "/a/b|n5|", "OK|"},    // between nodes of Dom0
              {XS_SET_PERMS, "/a/b/c|n6|", "OK|"},  // below it another guest's
              {XS_SET_PERMS, "/a|n5|", "OK|"},      // above: /a/b is now within what it owns
              {XS_SET_PERMS, "/a|n0|", "OK|"},      // and now not any more
              {XS_WRITE, "/x/y|1", "OK|"},
              {XS_SET_PERMS, "/x/y|n5|", "OK|"},
              {XS_SET_PERMS, "/x/y|n0|", "OK|"},  // taken back
              {XS_MKDIR, "/gone|", "OK|"},
              {XS_SET_PERMS, "/gone|n5|", "OK|"},
              {XS_RM, "/gone|", "OK|"},
              {XS_RELEASE, "5|", "OK|"},
              {XS_DIRECTORY, "/a|", ""},
              {XS_READ, "/x/y|", "1"}});
}

TEST_F(ServerTest, ATargetLendsItsRightsUntilEitherIsGone) {
  make_home(5);
  introduce(5);
  introduce(6);
  play(dom0, {{XS_SET_TARGET, "6|7|", "ENOENT"}, {XS_SET_TARGET, "6|5|", "OK|"}, {XS_RELEASE, "5|", "OK|"}});
  introduce(5);
  play(dom0, {{XS_SET_TARGET, "6|5|", "OK|"}, {XS_RELEASE, "6|", "OK|"}, {XS_RELEASE, "5|", "OK|"}});
  make_home(5);
  TestClient stub(server, Subject{6, 5});
  EXPECT_EQ(stub.ask(XS_WRITE, "/local/domain/5/data/x|1"), "OK|");
}

TEST_F(ServerTest, WithoutAMachineNobodyIsIntroduced) {
  Server standalone;
  TestClient client(standalone);
  EXPECT_EQ(client.ask(XS_INTRODUCE, "1|1|2|"), "ENOSYS");
}

}  // namespace
}  // namespace xenopolis::xenstore
