// Features and quotas, of all domains and of one.
#include <gmock/gmock.h>

#include "xenstore/test_client.h"

namespace xenopolis::xenstore {
namespace {

class SettingsTest : public testing::Test {
 protected:
  void ask(TestClient& client, uint32_t type, const std::string& payload, const std::string& reply = "OK|") {
    EXPECT_EQ(client.ask(type, payload), reply) << type << " " << payload;
  }
  void introduce(DomId domid) { ask(dom0, XS_INTRODUCE, std::to_string(domid) + "|1|2|"); }
  // A node that the domain may fill.
  void give_home(DomId domid) {
    const std::string home = "/local/domain/" + std::to_string(domid);
    ask(dom0, XS_MKDIR, home + "|");
    ask(dom0, XS_SET_PERMS, home + "|n" + std::to_string(domid) + "|");
  }
  int how_many(TestClient& client, uint32_t type, const std::string& payload, int at_most = 3000) {
    int done = 0;
    while (done < at_most && client.ask(type, payload + std::to_string(done) + "|") == "OK|") ++done;
    return done;
  }

  TestLink link;
  Server server{&link};
  TestClient dom0{server};
  TestClient guest{server, Subject{5, {}}};
};

TEST_F(SettingsTest, FeaturesAreThoseOfTheServerUnlessSomebodyTookSomeAway) {
  ask(dom0, kXsGetFeature, "", "7|");
  ask(dom0, kXsGetFeature, "5|", "7|");
  ask(guest, kXsGetFeature, "", "7|");
  ask(dom0, kXsSetFeature, "5|2|");
  ask(dom0, kXsGetFeature, "5|", "2|");
  ask(guest, kXsGetFeature, "", "2|");
  ask(dom0, kXsGetFeature, "", "7|");
  ask(dom0, kXsGetFeature, "6|", "7|");
  introduce(5);
  introduce(6);
  EXPECT_EQ(link.guests[5].page.server_features, 2u);
  EXPECT_EQ(link.guests[6].page.server_features, 7u);
  introduce(5);
  EXPECT_EQ(link.guests[5].page.server_features, 2u);
  ask(dom0, XS_RELEASE, "5|");
  ask(dom0, kXsGetFeature, "5|", "7|");  // of the next domain of that number
}

TEST_F(SettingsTest, WrongRequestsAboutFeatures) {
  introduce(5);
  ask(guest, kXsGetFeature, "5|", "EACCES");
  ask(guest, kXsGetFeature, "5|6|", "EACCES");
  ask(dom0, kXsGetFeature, "5|6|", "EINVAL");
  ask(dom0, kXsGetFeature, "x|", "EINVAL");
  ask(dom0, kXsGetFeature, "70000|", "EINVAL");
  ask(dom0, kXsGetFeature, "40000|", "ENOENT");
  ask(dom0, kXsGetFeature, "999|", "ENOENT");
  ask(dom0, kXsSetFeature, "5|2|", "EBUSY");
  ask(dom0, kXsSetFeature, "0|2|", "EBUSY");
  ask(dom0, kXsSetFeature, "999|2|", "ENOENT");
  ask(dom0, kXsSetFeature, "6|8|", "EINVAL");
  ask(dom0, kXsSetFeature, "6|x|", "EINVAL");
  ask(dom0, kXsSetFeature, "6|", "EINVAL");
  ask(dom0, kXsSetFeature, "6|1|2|", "EINVAL");
}

TEST_F(SettingsTest, WithoutTheFeatureADomainCannotSayADepth) {
  ask(dom0, kXsSetFeature, "5|3|");
  ask(guest, XS_WATCH, "a|t|1|", "EINVAL");
  ask(guest, XS_WATCH, "a|t|");
  TestClient other(server, Subject{6, {}});
  ask(other, XS_WATCH, "a|t|1|");
}

TEST_F(SettingsTest, WithoutTheFeaturesARingHasNeitherErrorsNorReconnection) {
  ask(dom0, kXsSetFeature, "5|0|");
  introduce(5);
  xenstore_domain_interface& page = link.guests[5].page;
  page.req_prod = 5000;
  server.domain_event(5);
  while (!server.ready().empty()) server.ready().run_once();
  EXPECT_EQ(page.error, uint32_t{XENSTORE_ERROR_NONE});
  page.connection = XENSTORE_RECONNECT;
  server.domain_event(5);
  while (!server.ready().empty()) server.ready().run_once();
  EXPECT_EQ(page.connection, uint32_t{XENSTORE_RECONNECT});
  EXPECT_EQ(page.req_prod, 5000u);
}

TEST_F(SettingsTest, AGuestThatWaitsForItsStoreIsConnected) {
  for (const char* features : {"0|", "7|"}) {
    ask(dom0, kXsSetFeature, "5|" + std::string(features));
    xenstore_domain_interface& page = link.guests[5].page;
    page.connection = XENSTORE_RECONNECT;
    introduce(5);
    EXPECT_EQ(page.connection, uint32_t{XENSTORE_CONNECTED}) << features;
    EXPECT_GT(link.guests[5].notifications, 0u);
    ask(dom0, XS_RELEASE, "5|");
  }
}

TEST_F(SettingsTest, QuotasHaveUpstreamsNamesAndDefaults) {
  ask(dom0, kXsGetQuota, "",
      "nodes watches outstanding memory soft-memory transactions transaction-nodes node-permissions path-max "
      "node-size|");
  const std::pair<const char*, const char*> rows[] = {
      {"nodes", "1000"},      {"watches", "128"},         {"outstanding", "20"},         {"memory", "2621440"},
      {"transactions", "10"}, {"soft-memory", "2097152"}, {"transaction-nodes", "1024"}, {"node-permissions", "5"},
      {"path-max", "2048"},   {"node-size", "2048"},
  };
  for (const auto& [name, value] : rows) {
    ask(dom0, kXsGetQuota, std::string(name) + "|", std::string(value) + "|");
    ask(dom0, kXsGetQuota, "5|" + std::string(name) + "|", std::string(value) + "|");
  }
}

TEST_F(SettingsTest, ADomainKeepsTheQuotasOfItsIntroductionAndThoseSetForIt) {
  introduce(5);
  ask(dom0, kXsSetQuota, "watches|3|");
  ask(dom0, kXsSetQuota, "6|nodes|7|");
  ask(dom0, kXsGetQuota, "watches|", "3|");
  ask(dom0, kXsGetQuota, "5|watches|", "128|");
  ask(dom0, kXsGetQuota, "6|watches|", "3|");
  ask(dom0, kXsGetQuota, "6|nodes|", "7|");
  ask(dom0, kXsGetQuota, "7|watches|", "3|");
  ask(dom0, kXsSetQuota, "watches|4|");
  ask(dom0, kXsGetQuota, "6|watches|", "3|");
  ask(dom0, XS_RELEASE, "5|");
  ask(dom0, kXsGetQuota, "5|watches|", "4|");
  introduce(6);
  ask(dom0, XS_RELEASE, "6|");
  ask(dom0, kXsGetQuota, "6|nodes|", "1000|");
}

TEST_F(SettingsTest, WrongRequestsAboutQuotas) {
  for (const char* payload : {"nothing|", "|", "soft-nodes|", "soft-|", "5|nodes|1|", "x|nodes|", "5|nothing|"}) {
    ask(dom0, kXsGetQuota, payload, "EINVAL");
  }
  for (const char* payload : {"nodes|", "", "nodes|x|", "nodes|-1|", "nodes|4294967295|", "nodes|4294967296|",
                              "soft-nodes|1|", "5|nodes|1|2|", "x|nodes|1|"}) {
    ask(dom0, kXsSetQuota, payload, "EINVAL");
  }
  ask(dom0, kXsGetQuota, "999|nodes|", "ENOENT");
  ask(dom0, kXsSetQuota, "999|nodes|1|", "ENOENT");
}

TEST_F(SettingsTest, EveryQuotaBinds) {
  give_home(5);
  for (const char* setting : {"nodes|11|", "watches|4|", "transactions|2|", "node-permissions|2|", "path-max|12|",
                              "node-size|200|", "transaction-nodes|20|"}) {
    ask(dom0, kXsSetQuota, "5|" + std::string(setting));
  }
  EXPECT_EQ(how_many(guest, XS_MKDIR, "n"), 10);  // and its home
  ask(guest, XS_MKDIR, "more|", "ENOSPC");
  EXPECT_EQ(how_many(guest, XS_WATCH, "a|"), 4);
  ask(guest, XS_WATCH, "a|0|", "EEXIST");  // rather than that there are too many
  ask(guest, XS_SET_PERMS, "n0|n5|r1|");
  ask(guest, XS_SET_PERMS, "n0|n5|r1|r2|", "ENOSPC");
  ask(guest, XS_READ, "twelve-bytes|", "ENOENT");
  ask(guest, XS_READ, "thirteen-byte|", "EINVAL");
  ask(guest, XS_READ, "/twelve-byte|", "EACCES");
  ask(guest, XS_READ, "/twelve-bytes|", "EINVAL");
  ask(guest, XS_WRITE, "n1|" + std::string(200, 'x'), "ENOSPC");
  ask(guest, XS_WRITE, "n1|" + std::string(100, 'x'));
  const uint32_t transaction = guest.begin();
  guest.begin();
  ask(guest, XS_TRANSACTION_START, "|", "ENOSPC");
  int read = 0;
  while (read < 100 && guest.ask(XS_READ, "n" + std::to_string(read) + "|", transaction) != "ENOSPC") ++read;
  EXPECT_GT(read, 5);
  EXPECT_LE(read, 20);
  // Another domain has its own.
  give_home(6);
  TestClient other(server, Subject{6, {}});
  EXPECT_EQ(how_many(other, XS_WATCH, "a|", 200), 128);
}

TEST_F(SettingsTest, MemoryIsWhatNodesAndWatchesTake) {
  give_home(5);
  ask(dom0, kXsSetQuota, "5|memory|10000|");
  const std::string value(1000, 'x');
  int written = 0;
  while (written < 100 && guest.ask(XS_WRITE, "n" + std::to_string(written) + "|" + value) == "OK|") ++written;
  EXPECT_EQ(written, 9);
  ask(guest, XS_WRITE, "n0|" + std::string(1900, 'x'), "ENOMEM");
  ask(guest, XS_WATCH, "a|" + value + "|", "ENOMEM");
  ask(guest, XS_WATCH, "a|t|");
  ask(guest, XS_RM, "n0|");
  ask(guest, XS_WATCH, "a|" + value + "|");
  // Whatever Dom0 gives it is its own too, but never refused.
  ask(dom0, XS_WRITE, "/local/domain/5/n1|" + std::string(4000, 'x'));
  ask(guest, XS_MKDIR, "more|", "ENOMEM");
  ask(guest, XS_WRITE, "n1|");
  ask(guest, XS_MKDIR, "more|");
}

TEST_F(SettingsTest, TheLogTellsOfASoftQuotaOnce) {
  introduce(5);
  give_home(5);
  ask(dom0, kXsSetQuota, "5|soft-memory|1000|");
  const auto logged_while = [&](auto&& act) {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    act();
    const std::string text = testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr();
    return text.find("domain 5 exceeds its soft quota of memory") != std::string::npos;
  };
  EXPECT_FALSE(logged_while([&] { ask(guest, XS_WRITE, "a|1"); }));
  EXPECT_TRUE(logged_while([&] { ask(guest, XS_WRITE, "a|" + std::string(1000, 'x')); }));
  EXPECT_FALSE(logged_while([&] { ask(guest, XS_WRITE, "b|" + std::string(1000, 'x')); }));
  ask(dom0, XS_RELEASE, "5|");
  introduce(5);
  give_home(5);
  ask(dom0, kXsSetQuota, "5|soft-memory|1000|");
  EXPECT_TRUE(logged_while([&] { ask(guest, XS_WATCH, "a|" + std::string(1000, 't') + "|"); }));
}

TEST_F(SettingsTest, ZeroMeansNoLimit) {
  give_home(5);
  for (const char* name : {"nodes", "watches", "memory", "transactions", "node-permissions", "node-size", "path-max"}) {
    ask(dom0, kXsSetQuota, "5|" + std::string(name) + "|0|");
  }
  EXPECT_EQ(how_many(guest, XS_MKDIR, "n", 1500), 1500);
  EXPECT_EQ(how_many(guest, XS_WATCH, "a|", 200), 200);
  ask(guest, XS_SET_PERMS, "n0|n5|r1|r2|r3|r4|r6|r7|");
  for (int i = 0; i < 20; ++i) guest.begin();
  ask(guest, XS_WRITE, "n1|" + std::string(3000, 'x'));
}

TEST_F(SettingsTest, OutstandingRepliesStopTheReading) {
  ask(dom0, kXsSetQuota, "outstanding|3|");
  introduce(5);
  xenstore_domain_interface& page = link.guests[5].page;
  const std::string request = message_bytes(XS_GET_DOMAIN_PATH, bars_to_nuls("1|"));
  const std::string reply = message_bytes(XS_GET_DOMAIN_PATH, bars_to_nuls("/local/domain/1|"));
  const auto put = [&](unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
      for (const char byte : request) page.req[MASK_XENSTORE_IDX(page.req_prod++)] = byte;
    }
    server.domain_event(5);
    while (!server.ready().empty()) server.ready().run_once();
  };
  ASSERT_EQ(XENSTORE_RING_SIZE % reply.size(), 0u);
  put(XENSTORE_RING_SIZE / static_cast<unsigned>(reply.size()));
  EXPECT_EQ(page.rsp_prod, uint32_t{XENSTORE_RING_SIZE});
  put(40);
  EXPECT_THAT(dom0.ask(XS_CONTROL, "quota|5|"), testing::HasSubstr("outstanding      :        3 (max        3)"));
  // They come when there is room, and the rest after them.
  std::string heard;
  for (int turn = 0; turn < 100; ++turn) {
    for (; page.rsp_cons != page.rsp_prod; ++page.rsp_cons) heard.push_back(page.rsp[MASK_XENSTORE_IDX(page.rsp_cons)]);
    put(0);
  }
  EXPECT_EQ(heard.size(), (XENSTORE_RING_SIZE / reply.size() + 40) * reply.size());
}

}  // namespace
}  // namespace xenopolis::xenstore
