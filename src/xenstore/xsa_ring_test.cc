// The flaws that advisories found in how daemons talk to rings, tried on ours (docs/security.md).
#include <gmock/gmock.h>

#include "xenstore/testing/ring_guest.h"

namespace xenopolis::xenstore {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class RingAdvisories : public GuestsTest {};

TEST_F(RingAdvisories, Xsa325BreakingTheProtocolReleasesNoDomain) {
  ASSERT_EQ(dom0.ask(XS_WATCH, "@releaseDomain|t|"), "OK|");
  const struct {
    const char* claim;
    std::function<void(RingGuest&)> offend;
  } rows[] = {
      {"a payload over the limit",
       [](RingGuest& hostile) {
         const Header header{XS_READ, 0, 0, kPayloadMax + 1};
         hostile.put(std::string_view(reinterpret_cast<const char*>(&header), sizeof header));
       }},
      {"indices too far apart", [](RingGuest& hostile) { hostile.page().req_prod += 2000; }},
      {"output consumed that was never produced", [](RingGuest& hostile) { hostile.page().rsp_cons += 5000; }},
  };
  DomId domid = 10;
  for (const auto& row : rows) {
    SCOPED_TRACE(row.claim);
    RingGuest hostile = guest(++domid);
    ASSERT_EQ(hostile.ask(XS_WATCH, "data|t|"), "OK|");
    dom0.events();
    row.offend(hostile);
    hostile.put(message_bytes(XS_READ, std::string("data\0", 5)));
    hostile.notify();
    ASSERT_TRUE(run_until_quiet(server));
    EXPECT_THAT(dom0.events(), IsEmpty());
    EXPECT_EQ(dom0.ask(XS_IS_DOMAIN_INTRODUCED, std::to_string(domid) + "|"), "T|");
    EXPECT_EQ(dom0.ask(XS_READ, home_of(domid) + "/data|"), "");
    // Its end is told when it ends, and once.
    release(domid);
    EXPECT_THAT(dom0.events(), ElementsAre("@releaseDomain t"));
    EXPECT_EQ(link.guests[domid].open_ports, 0u);
  }
}

TEST_F(RingAdvisories, Xsa325ADeviceModelOutlivesAnOffendingTarget) {
  RingGuest target = guest(5);
  RingGuest device_model = guest(6);
  ASSERT_EQ(target.ask(XS_WRITE, "data/x|1"), "OK|");
  ASSERT_EQ(dom0.ask(XS_SET_TARGET, "6|5|"), "OK|");
  target.page().req_prod += 5000;
  target.notify();
  ASSERT_TRUE(run_until_quiet(server));
  EXPECT_EQ(device_model.ask(XS_READ, "/local/domain/5/data/x|"), "1");
  release(5);
  EXPECT_EQ(device_model.ask(XS_READ, "/local/domain/5/data/x|"), "EACCES");
}

// Whoever ends first of a target and its device model (double free in other daemons), in both orders.
TEST_F(RingAdvisories, Xsa233TargetAndDeviceModelEndInAnyOrder) {
  for (const auto& [first, second] : {std::pair<DomId, DomId>{5, 6}, {6, 5}}) {
    guest(5);
    guest(6);
    ASSERT_EQ(dom0.ask(XS_SET_TARGET, "6|5|"), "OK|");
    ASSERT_EQ(dom0.ask(XS_SET_TARGET, "5|6|"), "OK|");
    ASSERT_EQ(dom0.ask(XS_SET_TARGET, "6|5|"), "OK|");
    release(first);
    release(second);
    ASSERT_EQ(dom0.ask(XS_RM, home_of(5) + "|"), "OK|");
    ASSERT_EQ(dom0.ask(XS_RM, home_of(6) + "|"), "OK|");
  }
}

TEST_F(RingAdvisories, Xsa326AGuestThatReadsNoRepliesIsServedNoFurther) {
  RingGuest hostile = guest(5);
  ASSERT_EQ(hostile.ask(XS_WRITE, "data/x|" + std::string(1900, 'v')), "OK|");
  const std::string read = message_bytes(XS_READ, std::string("data/x\0", 7));
  unsigned sent = 0;
  for (unsigned still = 0; still < 10 && sent < 100'000;) {
    const size_t done = hostile.put(read);
    hostile.notify();
    ASSERT_TRUE(run_until_quiet(server));
    if (done == read.size()) {
      ++sent;
      still = 0;
    } else {
      hostile.page().req_prod -= static_cast<uint32_t>(done);
      ++still;
    }
  }
  // Replies to what was taken: the ring, what the daemon buffers, and not yet answered requests.
  EXPECT_LT(sent, (XENSTORE_RING_SIZE + kGuestOutputLimits.replies) / 1900 + 2 +
                      (kInputBytes + 3 * XENSTORE_RING_SIZE) / read.size());
  // Nobody else notices, and nothing is lost.
  EXPECT_EQ(dom0.ask(XS_READ, home_of(5) + "/data/x|").size(), 1900u);
  unsigned replies = 0;
  for (unsigned quiet = 0; quiet < 3;) {
    const size_t heard = hostile.take().size();
    replies += static_cast<unsigned>(heard);
    quiet = hostile.page().rsp_prod == hostile.page().rsp_cons && heard == 0 ? quiet + 1 : 0;
    hostile.notify();
    ASSERT_TRUE(run_until_quiet(server));
  }
  EXPECT_EQ(replies, sent);
}

TEST_F(RingAdvisories, Xsa416AReplyThatIsNeverReadKeepsOnlyItself) {
  RingGuest hostile = guest(5);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(hostile.ask(XS_WRITE, "data/d/" + std::to_string(i) + "|1"), "OK|");
  // A request that works on much (it removes 200 nodes), whose reply is not read.
  hostile.put(message_bytes(XS_RM, std::string("data/d\0", 7)));
  hostile.notify();
  ASSERT_TRUE(run_until_quiet(server));
  // The nodes are given back: the quota says so, and a whole one can be used again behind the unread reply.
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(dom0.ask(XS_WRITE, home_of(5) + "/data/d/" + std::to_string(i) + "|1"), "OK|");
  }
  EXPECT_EQ(nuls_to_bars(hostile.take().at(0).payload), "OK|");
}

TEST_F(RingAdvisories, Xsa420LengthsAndNumbersWithTheHighestBitSetAreNoNegativeNumbers) {
  for (const uint32_t length : {0x80000000u, 0xffffffffu, 0xfffffff0u, 0x7fffffffu, 4097u}) {
    RingGuest hostile = guest(5);
    const Header header{XS_WRITE, 0xffffffff, 0, length};
    hostile.put(std::string_view(reinterpret_cast<const char*>(&header), sizeof header));
    hostile.put(std::string(900, 'x'));
    hostile.notify();
    ASSERT_TRUE(run_until_quiet(server)) << "busy for ever at " << length;
    EXPECT_EQ(hostile.page().error, uint32_t{XENSTORE_ERROR_PROTO}) << length;
    release(5);
    ASSERT_EQ(dom0.ask(XS_RM, home_of(5) + "|"), "OK|");
  }
  RingGuest hostile = guest(5);
  for (const uint32_t type : {0x80000000u, 0xffffffffu, 0x7fffffffu}) {
    EXPECT_EQ(hostile.ask(type, "data|"), "ENOSYS") << type;
  }
  for (const uint32_t transaction : {0x80000000u, 0xffffffffu}) {
    EXPECT_EQ(hostile.ask(XS_READ, "data|", transaction), "ENOENT") << transaction;
    EXPECT_EQ(hostile.ask(XS_TRANSACTION_END, "T|", transaction), "ENOENT") << transaction;
  }
}

TEST_F(RingAdvisories, Xsa72ARequestWhoseAnswerIsTooLongIsAnsweredByAnError) {
  RingGuest hostile = guest(5);
  ASSERT_EQ(dom0.ask(XS_MKDIR, home_of(5) + "/data/big|"), "OK|");
  ASSERT_EQ(dom0.ask(XS_SET_PERMS, home_of(5) + "/data/big|r0|"), "OK|");
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(dom0.ask(XS_MKDIR, home_of(5) + "/data/big/" + std::to_string(i) + std::string(250, 'n') + "|"), "OK|");
  }
  EXPECT_EQ(hostile.ask(XS_DIRECTORY, "data/big|"), "E2BIG");
  EXPECT_EQ(hostile.page().error, uint32_t{XENSTORE_ERROR_NONE});
  EXPECT_NE(hostile.ask(XS_DIRECTORY_PART, "data/big|0|"), "E2BIG");
}

TEST_F(RingAdvisories, Xsa481NoPathThatIsNoneEndsTheDaemonOrTheRing) {
  RingGuest hostile = guest(5);
  for (const char* path : {"/local/domain/", "/local/domain//", "/local//domain", "//", "/local/domain/5/", "", "data/",
                           "/data//x", "/.", "/..", "/local/domain/../0", "@", "@@", "/@", "a b", "\x01", "\xff"}) {
    const std::string given = std::string(path) + "|";
    for (const uint32_t type : {XS_READ, XS_DIRECTORY, XS_GET_PERMS, XS_MKDIR, XS_RM}) {
      const std::string reply = hostile.ask(type, given);
      EXPECT_TRUE(reply == "EINVAL" || reply == "EACCES" || reply == "ENOENT") << path << " " << type << " " << reply;
    }
    for (const auto& [type, rest] : std::initializer_list<std::pair<uint32_t, std::string>>{
             {XS_WRITE, "1"}, {XS_SET_PERMS, "n5|"}, {XS_DIRECTORY_PART, "0|"}, {XS_UNWATCH, "t|"}}) {
      const std::string reply = hostile.ask(type, given + rest);
      EXPECT_TRUE(reply == "EINVAL" || reply == "EACCES" || reply == "ENOENT") << path << " " << type << " " << reply;
    }
  }
  EXPECT_EQ(hostile.page().error, uint32_t{XENSTORE_ERROR_NONE});
  EXPECT_EQ(hostile.ask(XS_READ, "data|"), "");
}

}  // namespace
}  // namespace xenopolis::xenstore
