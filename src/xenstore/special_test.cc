// Special names, and who hears of domains that come, shut down and go.
#include "xenstore/special.h"

#include <gmock/gmock.h>

#include "xenstore/test_client.h"

namespace xenopolis::xenstore {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class SpecialTest : public testing::Test {
 protected:
  void ask(TestClient& client, uint32_t type, const std::string& payload, const std::string& reply = "OK|") {
    EXPECT_EQ(client.ask(type, payload), reply) << type << " " << payload;
  }
  void introduce(DomId domid) { ask(dom0, XS_INTRODUCE, std::to_string(domid) + "|1|2|"); }
  void watch(TestClient& client, const std::string& path, const std::string& token, const std::string& more = "") {
    ask(client, XS_WATCH, path + "|" + token + "|" + more);
    EXPECT_THAT(client.events(), ElementsAre(path + " " + token));
  }

  TestLink link;
  Server server{&link};
  TestClient dom0{server};
  TestClient guest{server, Subject{7, {}}};
};

TEST_F(SpecialTest, NamesAreKnownAsEventsWriteThem) {
  for (const char* name : {"@introduceDomain", "@releaseDomain", "@releaseDomain/0", "@introduceDomain/32751"}) {
    EXPECT_TRUE(SpecialNames::is_known(name)) << name;
  }
  for (const char* name : {"@", "@other", "@releaseDomai", "@releaseDomains", "@releaseDomain/", "@releaseDomain/07",
                           "@releaseDomain/x", "@releaseDomain/32752", "@releaseDomain/1/2", "/releaseDomain"}) {
    EXPECT_FALSE(SpecialNames::is_known(name)) << name;
  }
}

TEST_F(SpecialTest, EveryStepOfADomainFiresOnce) {
  watch(dom0, "@introduceDomain", "in");
  watch(dom0, "@releaseDomain", "out");
  introduce(5);
  EXPECT_THAT(dom0.events(), ElementsAre("@introduceDomain in"));
  introduce(5);
  EXPECT_THAT(dom0.events(), IsEmpty());
  ask(dom0, XS_CONTROL, "domain-shutdown|5|");
  EXPECT_THAT(dom0.events(), ElementsAre("@releaseDomain out"));
  ask(dom0, XS_RELEASE, "5|");
  EXPECT_THAT(dom0.events(), ElementsAre("@releaseDomain out"));
  ask(dom0, XS_CONTROL, "domain-shutdown|5|", "ENOENT");
  EXPECT_THAT(dom0.events(), IsEmpty());
}

TEST_F(SpecialTest, AShutdownIsToldOnceUntilTheDomainIsResumed) {
  introduce(5);
  watch(dom0, "@releaseDomain", "out");
  for (int time = 0; time < 3; ++time) {
    ask(dom0, XS_CONTROL, "domain-shutdown|5|");
    ask(dom0, XS_CONTROL, "domain-shutdown|5|");
    EXPECT_THAT(dom0.events(), ElementsAre("@releaseDomain out"));
    ask(dom0, XS_RESUME, "5|");
    EXPECT_THAT(dom0.events(), IsEmpty());
  }
  ask(dom0, XS_RESUME, "6|", "ENOENT");
  ask(dom0, XS_RESUME, "0|", "EINVAL");
  ask(dom0, XS_RESUME, "x|", "EINVAL");
  // A new domain of that number has not shut down.
  ask(dom0, XS_CONTROL, "domain-shutdown|5|");
  ask(dom0, XS_RELEASE, "5|");
  introduce(5);
  dom0.events();
  ask(dom0, XS_CONTROL, "domain-shutdown|5|");
  EXPECT_THAT(dom0.events(), ElementsAre("@releaseDomain out"));
}

TEST_F(SpecialTest, DepthAndPathSayWhichDomain) {
  watch(dom0, "@releaseDomain", "any");
  watch(dom0, "@releaseDomain", "none", "0|");
  watch(dom0, "@releaseDomain", "which", "1|");
  watch(dom0, "@releaseDomain/5", "five");
  watch(dom0, "@releaseDomain/5", "deep", "3|");
  watch(dom0, "@releaseDomain/6", "six");
  watch(dom0, "@introduceDomain", "in", "1|");
  watch(dom0, "/", "root");
  watch(dom0, "/", "top", "9|");
  introduce(5);
  EXPECT_THAT(dom0.events(), ElementsAre("@introduceDomain/5 in"));
  ask(dom0, XS_CONTROL, "domain-shutdown|5|");
  EXPECT_THAT(dom0.events(), UnorderedElementsAre("@releaseDomain any", "@releaseDomain/5 which",
                                                  "@releaseDomain/5 five", "@releaseDomain/5 deep"));
  introduce(6);
  dom0.events();
  ask(dom0, XS_RELEASE, "6|");
  EXPECT_THAT(dom0.events(),
              UnorderedElementsAre("@releaseDomain any", "@releaseDomain/6 which", "@releaseDomain/6 six"));
  ask(dom0, XS_UNWATCH, "@releaseDomain|which|");
  ask(dom0, XS_UNWATCH, "@releaseDomain/5|deep|");
  ask(dom0, XS_RELEASE, "5|");
  EXPECT_THAT(dom0.events(), UnorderedElementsAre("@releaseDomain any", "@releaseDomain/5 five"));
}

TEST_F(SpecialTest, AGuestHearsWhatItsRightsSay) {
  watch(guest, "@releaseDomain", "out");
  watch(guest, "@releaseDomain", "which", "1|");
  introduce(5);
  introduce(6);
  ask(dom0, XS_CONTROL, "domain-shutdown|5|");
  EXPECT_THAT(guest.events(), IsEmpty());
  ask(guest, XS_GET_PERMS, "@releaseDomain|", "EACCES");
  ask(guest, XS_SET_PERMS, "@releaseDomain|n7|", "EACCES");
  // With a domain's own rights: that domain only.
  ask(dom0, XS_SET_PERMS, "@releaseDomain/5|n0|r7|");
  ask(dom0, XS_GET_PERMS, "@releaseDomain/5|", "n0|r7|");
  ask(dom0, XS_GET_PERMS, "@releaseDomain/6|", "n0|");
  ask(guest, XS_GET_PERMS, "@releaseDomain/5|", "n0|r7|");
  ask(guest, XS_SET_PERMS, "@releaseDomain/5|n7|", "EACCES");
  ask(dom0, XS_CONTROL, "domain-shutdown|6|");
  EXPECT_THAT(guest.events(), IsEmpty());
  ask(dom0, XS_RELEASE, "5|");
  EXPECT_THAT(guest.events(), ElementsAre("@releaseDomain/5 which"));
  // They go with the domain.
  ask(dom0, XS_GET_PERMS, "@releaseDomain/5|", "n0|");
  // With the name's rights: all.
  ask(dom0, XS_SET_PERMS, "@releaseDomain|n0|r7|");
  EXPECT_THAT(guest.events(), UnorderedElementsAre("@releaseDomain out", "@releaseDomain which"));
  ask(dom0, XS_RELEASE, "6|");
  EXPECT_THAT(guest.events(), UnorderedElementsAre("@releaseDomain out", "@releaseDomain/6 which"));
  // Who loses the right hears that, and nothing more.
  ask(dom0, XS_SET_PERMS, "@releaseDomain|n0|");
  EXPECT_THAT(guest.events(), UnorderedElementsAre("@releaseDomain out", "@releaseDomain which"));
  introduce(5);
  ask(dom0, XS_RELEASE, "5|");
  EXPECT_THAT(guest.events(), IsEmpty());
}

TEST_F(SpecialTest, AnOwnerMayShareANameButNotGiveItAway) {
  ask(dom0, XS_SET_PERMS, "@introduceDomain|n7|");
  ask(guest, XS_SET_PERMS, "@introduceDomain|n7|r8|");
  ask(guest, XS_SET_PERMS, "@introduceDomain|n8|", "EPERM");
  ask(guest, XS_SET_PERMS, "@introduceDomain/3|n7|r8|", "EACCES");  // memory for every domid
  TestClient other(server, Subject{8, {}});
  watch(other, "@introduceDomain", "in");
  introduce(5);
  EXPECT_THAT(other.events(), ElementsAre("@introduceDomain in"));
  // The name outlives its owner.
  introduce(7);
  ask(dom0, XS_RELEASE, "7|");
  ask(dom0, XS_GET_PERMS, "@introduceDomain|", "n0|");
}

TEST_F(SpecialTest, WhoeverHasTheReaderAsTargetHears) {
  introduce(3);
  introduce(7);
  ask(dom0, XS_SET_TARGET, "3|7|");
  ask(dom0, XS_SET_PERMS, "@releaseDomain|n0|r7|");
  xenstore_domain_interface& page = link.guests[3].page;
  const std::string request = message_bytes(XS_WATCH, bars_to_nuls("@releaseDomain|out|"));
  for (const char byte : request) page.req[MASK_XENSTORE_IDX(page.req_prod++)] = byte;
  server.domain_event(3);
  while (!server.ready().empty()) server.ready().run_once();
  const uint32_t before = page.rsp_prod;
  introduce(5);
  ask(dom0, XS_RELEASE, "5|");
  while (!server.ready().empty()) server.ready().run_once();
  EXPECT_EQ(page.rsp_prod - before, kHeaderBytes + std::string("@releaseDomain|out|").size());
}

TEST_F(SpecialTest, ClientWatchTellsDom0sClientsOfWhatOthersWatch) {
  TestClient other(server);
  watch(dom0, "@clientWatch", "who");
  watch(other, "/local/domain/7/console/tty", "t");
  EXPECT_THAT(dom0.events(), ElementsAre("/local/domain/7/console/tty who"));
  watch(other, "@releaseDomain", "t");
  EXPECT_THAT(dom0.events(), ElementsAre("@releaseDomain who"));
  // Not of its own, of a guest's, of one that was refused, of its end.
  watch(dom0, "/a", "own");
  watch(guest, "/local/domain/7/console/tty", "t");
  ask(other, XS_WATCH, "/local/domain/7/console/tty|t|", "EEXIST");
  ask(other, XS_UNWATCH, "/local/domain/7/console/tty|t|");
  EXPECT_THAT(dom0.events(), IsEmpty());
  ask(dom0, XS_UNWATCH, "@clientWatch|who|");
  watch(other, "/b", "t");
  EXPECT_THAT(dom0.events(), IsEmpty());
}

TEST_F(SpecialTest, NoGuestHearsWhatClientsWatch) {
  TestClient other(server);
  ask(dom0, XS_SET_PERMS, "@clientWatch|n0|r7|", "ENOENT");
  ask(guest, XS_SET_PERMS, "@clientWatch|n7|", "EACCES");
  watch(guest, "@clientWatch", "who");
  watch(other, "/local/domain/7/console/tty", "t");
  EXPECT_THAT(guest.events(), IsEmpty());
}

TEST_F(SpecialTest, SpecialNamesAreNoPaths) {
  for (const uint32_t type : {XS_READ, XS_DIRECTORY, XS_MKDIR, XS_RM}) ask(dom0, type, "@releaseDomain|", "EINVAL");
  ask(dom0, XS_WRITE, "@releaseDomain|x", "EINVAL");
  watch(dom0, "@whatever", "t");
}

}  // namespace
}  // namespace xenopolis::xenstore
