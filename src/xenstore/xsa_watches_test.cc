// The flaws that advisories found in other daemons' watches, tried on ours (docs/security.md).
#include <gmock/gmock.h>

#include "xenstore/testing/ring_guest.h"

namespace xenopolis::xenstore {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class WatchAdvisories : public GuestsTest {};

TEST_F(WatchAdvisories, Xsa115WatchesTellNothingOfNodesThatTheWatcherMayNotRead) {
  RingGuest spy = guest(5);
  make_home(6);
  for (const char* path :
       {"/", "/local/domain/6", "/local/domain/6/data", "/vm", "@introduceDomain", "@releaseDomain"}) {
    ASSERT_EQ(spy.ask(XS_WATCH, std::string(path) + "|t|"), "OK|") << path;
  }
  spy.events();
  RingGuest other = guest(6);
  ASSERT_EQ(other.ask(XS_WRITE, "data/secret|1"), "OK|");
  ASSERT_EQ(other.ask(XS_SET_PERMS, "data/secret|n6|r7|"), "OK|");
  ASSERT_EQ(dom0.ask(XS_WRITE, "/vm/uuid|1"), "OK|");
  ASSERT_EQ(other.ask(XS_RM, "data/secret|"), "OK|");
  const uint32_t transaction = other.begin();
  ASSERT_EQ(other.ask(XS_WRITE, "data/in/transaction|1", transaction), "OK|");
  ASSERT_EQ(other.commit(transaction), "OK|");
  ASSERT_EQ(dom0.ask(XS_RM, "/vm|"), "OK|");
  release(6);
  EXPECT_THAT(spy.events(), IsEmpty());
}

TEST_F(WatchAdvisories, Xsa115AWatcherWhoLosesOrGainsTheRightHearsOfIt) {
  RingGuest watcher = guest(5);
  RingGuest owner = guest(6);
  ASSERT_EQ(owner.ask(XS_WRITE, "data/shared|1"), "OK|");
  ASSERT_EQ(watcher.ask(XS_WATCH, "/local/domain/6/data/shared|t|"), "OK|");
  watcher.events();
  const std::vector<std::string> event{"/local/domain/6/data/shared t"};
  ASSERT_EQ(owner.ask(XS_SET_PERMS, "data/shared|n6|r5|"), "OK|");
  EXPECT_EQ(watcher.events(), event);
  ASSERT_EQ(owner.ask(XS_WRITE, "data/shared|2"), "OK|");
  EXPECT_EQ(watcher.events(), event);
  ASSERT_EQ(owner.ask(XS_SET_PERMS, "data/shared|n6|"), "OK|");
  EXPECT_EQ(watcher.events(), event);
  ASSERT_EQ(owner.ask(XS_WRITE, "data/shared|3"), "OK|");
  ASSERT_EQ(owner.ask(XS_RM, "data/shared|"), "OK|");
  EXPECT_THAT(watcher.events(), IsEmpty());
}

TEST_F(WatchAdvisories, Xsa115SpecialWatchesFireOnlyForThoseWhomDom0Lets) {
  RingGuest allowed = guest(5);
  RingGuest other = guest(6);
  ASSERT_EQ(dom0.ask(XS_SET_PERMS, "@releaseDomain|n0|r5|"), "OK|");
  for (RingGuest* each : {&allowed, &other}) {
    ASSERT_EQ(each->ask(XS_WATCH, "@releaseDomain|t|"), "OK|");
    each->events();
  }
  guest(7);
  release(7);
  EXPECT_THAT(allowed.events(), ElementsAre("@releaseDomain t"));
  EXPECT_THAT(other.events(), IsEmpty());
  EXPECT_EQ(other.ask(XS_SET_PERMS, "@releaseDomain|n6|"), "EACCES");
}

TEST_F(WatchAdvisories, Xsa324AnEventThatIsTooLongForAMessageHarmsNobody) {
  RingGuest hostile = guest(5);
  const std::string token(kPayloadMax - 10, 't');
  ASSERT_EQ(hostile.ask(XS_WATCH, "data|" + token + "|"), "OK|");
  EXPECT_EQ(hostile.events().size(), 1u);
  const std::string deep = "data/" + std::string(1000, 'a');
  ASSERT_EQ(hostile.ask(XS_WRITE, deep + "|1"), "OK|");
  ASSERT_EQ(dom0.ask(XS_WRITE, home_of(5) + "/" + deep + "/b|1"), "OK|");
  ASSERT_EQ(hostile.ask(XS_RM, deep + "|"), "OK|");
  EXPECT_THAT(hostile.events(), IsEmpty());
  EXPECT_EQ(hostile.page().error, uint32_t{XENSTORE_ERROR_NONE});
  // Its next event that fits arrives.
  ASSERT_EQ(hostile.ask(XS_WRITE, "data|1"), "OK|");
  EXPECT_EQ(hostile.events().size(), 1u);
}

TEST_F(WatchAdvisories, Xsa330ResettingWatchesLeavesNothingBehind) {
  RingGuest hostile = guest(5);
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 20; ++i) {
      const std::string name = std::to_string(round) + "-" + std::to_string(i);
      ASSERT_EQ(hostile.ask(XS_WATCH, "data/" + name + "/below|" + name + "|"), "OK|") << name;
    }
    // The transactions that were open count no longer, and the quota of watches is whole again.
    for (int i = 0; i < 5; ++i) hostile.begin();
    ASSERT_EQ(hostile.ask(XS_RESET_WATCHES, "|"), "OK|");
    ASSERT_TRUE(server.watches().empty());
  }
  ASSERT_EQ(hostile.ask(XS_WRITE, "data/1-1/below|1"), "OK|");
  EXPECT_TRUE(hostile.events().size() <= 50u * 20u);
  EXPECT_THAT(hostile.events(), IsEmpty());
}

TEST_F(WatchAdvisories, Xsa484ResettingWatchesInATransactionIsAnsweredAndEndsNoDaemon) {
  RingGuest hostile = guest(5);
  ASSERT_EQ(hostile.ask(XS_WATCH, "data|t|"), "OK|");
  const uint32_t transaction = hostile.begin();
  ASSERT_EQ(hostile.ask(XS_WRITE, "data/x|1", transaction), "OK|");
  const std::string reply = hostile.ask(XS_RESET_WATCHES, "|", transaction);
  EXPECT_TRUE(reply == "OK|" || reply == "EINVAL") << reply;
  const std::string end = hostile.commit(transaction);
  EXPECT_TRUE(end == "OK|" || end == "ENOENT" || end == "EAGAIN") << end;
  EXPECT_EQ(hostile.ask(XS_WRITE, "data/y|1"), "OK|");
  EXPECT_EQ(dom0.ask(XS_READ, home_of(5) + "/data/y|"), "1");
}

TEST_F(WatchAdvisories, Xsa326EventsThatNobodyReadsTakeBoundedSpace) {
  RingGuest hostile = guest(5);
  RingGuest writer = guest(6);
  ASSERT_EQ(writer.ask(XS_SET_PERMS, "data|n6|r5|"), "OK|");
  // All its watches match every change; then it never reads again.
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(hostile.ask(XS_WATCH, "/local/domain/6|" + std::to_string(i) + std::string(300, 't') + "|"), "OK|");
  }
  ASSERT_EQ(hostile.events().size(), 100u);
  std::string all_below = "data/" + std::string(500, 'b');
  for (int i = 0; i < 500; ++i) {
    ASSERT_EQ(writer.ask(XS_WRITE, all_below + "/" + std::to_string(i) + "|1"), "OK|");
  }
  ASSERT_EQ(writer.ask(XS_RM, all_below + "|"), "OK|");
  ASSERT_TRUE(run_until_quiet(server));
  // 500 changes for 100 watches would be 50 MB. When it reads at last, what was kept comes out, each watch at least
  // once.
  size_t bytes = 0;
  std::vector<bool> told(100);
  for (;;) {
    const auto heard = hostile.take();
    if (heard.empty() && server.ready().empty() && hostile.page().rsp_cons == hostile.page().rsp_prod) {
      hostile.notify();
      ASSERT_TRUE(run_until_quiet(server));
      if (hostile.page().rsp_cons == hostile.page().rsp_prod) break;
      continue;
    }
    for (const auto& message : heard) {
      bytes += kHeaderBytes + message.payload.size();
      const size_t nul = message.payload.find('\0');
      told[std::stoul(message.payload.substr(nul + 1))] = true;
    }
    hostile.notify();
    ASSERT_TRUE(run_until_quiet(server));
  }
  EXPECT_LT(bytes, 256u * 1024u);
  EXPECT_THAT(told, testing::Each(true));
}

TEST_F(WatchAdvisories, Xsa326WatchesHaveAQuotaOfNumberAndOfBytes) {
  RingGuest hostile = guest(5);
  unsigned set = 0;
  while (set < 2000 && hostile.ask(XS_WATCH, "w" + std::to_string(set) + "|t|") == "OK|") ++set;
  EXPECT_LE(set, 128u);
  ASSERT_EQ(hostile.ask(XS_RESET_WATCHES, "|"), "OK|");
  set = 0;
  const std::string longest(2000, 'w');
  while (set < 2000 && hostile.ask(XS_WATCH, longest + "|" + std::to_string(set) + longest + "|") == "OK|") ++set;
  EXPECT_LT(set, 128u);
  // What it gives back it may use again.
  ASSERT_EQ(hostile.ask(XS_UNWATCH, longest + "|0" + longest + "|"), "OK|");
  EXPECT_EQ(hostile.ask(XS_WATCH, longest + "|x" + longest + "|"), "OK|");
}

}  // namespace
}  // namespace xenopolis::xenstore
