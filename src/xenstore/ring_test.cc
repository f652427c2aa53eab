#include "xenstore/ring.h"

#include <gmock/gmock.h>

#include <random>

#include "xenstore/test_client.h"

namespace xenopolis::xenstore {
namespace {

// The guest's side of a ring.
class RingTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(dom0.ask(XS_MKDIR, "/local/domain/5|"), "OK|");
    ASSERT_EQ(dom0.ask(XS_SET_PERMS, "/local/domain/5|n5|"), "OK|");
  }
  void introduce() {
    ASSERT_EQ(dom0.ask(XS_INTRODUCE, "5|1|2|"), "OK|");
    run();
  }
  void run() {
    for (int rounds = 0; !server.ready().empty(); ++rounds) {
      ASSERT_LT(rounds, 10'000);
      server.ready().run_once();
    }
  }
  void event() {
    server.domain_event(5);
    run();
  }
  // As much as fits; answers how much.
  size_t put(std::string_view bytes) {
    size_t done = 0;
    for (; done < bytes.size() && page.req_prod - page.req_cons < XENSTORE_RING_SIZE; ++done) {
      page.req[MASK_XENSTORE_IDX(page.req_prod)] = bytes[done];
      ++page.req_prod;
    }
    return done;
  }
  size_t take(size_t limit) {
    size_t done = 0;
    for (; done < limit && page.rsp_cons != page.rsp_prod; ++done) {
      heard.push_back(page.rsp[MASK_XENSTORE_IDX(page.rsp_cons)]);
      ++page.rsp_cons;
    }
    return done;
  }
  // Payloads heard so far, nuls as bars.
  std::vector<std::string> messages() {
    MessageReader reader;
    reader.append(heard);
    std::vector<std::string> texts;
    Header header;
    std::string_view payload;
    while (reader.next(header, payload) == MessageReader::Next::kMessage) {
      texts.push_back(nuls_to_bars(std::string(payload)));
    }
    heard.erase(0, heard.size() - reader.pending_bytes());
    return texts;
  }

  TestLink link;
  xenstore_domain_interface& page = link.guests[5].page;
  std::string heard;
  Server server{&link};
  TestClient dom0{server};
};

const std::string kWrite = message_bytes(XS_WRITE, bars_to_nuls("key|value"));
const std::string kRead = message_bytes(XS_READ, bars_to_nuls("key|"));

using testing::ElementsAre;

TEST_F(RingTest, RequestsWrittenBeforeTheIntroductionAreServed) {
  page.req_cons = page.req_prod = 0xfffffff0u;  // indices start anywhere and wrap
  page.rsp_cons = page.rsp_prod = 0xffffff00u;
  put(kWrite + kRead);
  introduce();
  take(1000);
  EXPECT_THAT(messages(), ElementsAre("OK|", "value"));
  EXPECT_EQ(page.req_cons, page.req_prod);
  EXPECT_GE(link.guests[5].notifications, 1u);
}

TEST_F(RingTest, MessagesMayComeInPiecesCutAnywhere) {
  introduce();
  const std::string stream = kWrite + kRead;
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    put(stream.substr(0, cut));
    event();
    put(stream.substr(cut));
    event();
    take(1000);
    ASSERT_THAT(messages(), ElementsAre("OK|", "value")) << cut;
  }
}

TEST_F(RingTest, OutputThatDoesNotFitWaitsForTheGuest) {
  introduce();
  const std::string value(900, 'v');
  ASSERT_EQ(dom0.ask(XS_WRITE, "/local/domain/5/key|" + value), "OK|");
  for (int i = 0; i < 20; ++i) ASSERT_EQ(put(kRead), kRead.size());
  event();
  EXPECT_EQ(page.rsp_prod - page.rsp_cons, uint32_t{XENSTORE_RING_SIZE});
  std::vector<std::string> all;
  for (int reads = 0; take(100) > 0; ++reads) {
    event();
    for (std::string& text : messages()) all.push_back(std::move(text));
    ASSERT_LT(reads, 1000);
  }
  EXPECT_EQ(all, std::vector<std::string>(20, value));
}

TEST_F(RingTest, AGuestThatDoesNotReadIsNotReadFrom) {
  introduce();
  ASSERT_EQ(dom0.ask(XS_WRITE, "/local/domain/5/key|" + std::string(900, 'v')), "OK|");
  size_t taken = 0;
  for (int i = 0; i < 10'000; ++i) {
    const size_t done = put(kRead);
    taken += done;
    if (done != kRead.size()) break;
    event();
  }
  EXPECT_LT(taken, 10'000u);
  EXPECT_EQ(page.req_prod - page.req_cons, uint32_t{XENSTORE_RING_SIZE});
}

TEST_F(RingTest, EventsOfOthersReachTheGuest) {
  introduce();
  put(message_bytes(XS_WATCH, bars_to_nuls("key|token|")));
  event();
  take(1000);
  EXPECT_THAT(messages(), ElementsAre("OK|", "key|token|"));
  const unsigned before = link.guests[5].notifications;
  ASSERT_EQ(dom0.ask(XS_WRITE, "/local/domain/5/key|1"), "OK|");
  run();
  EXPECT_EQ(link.guests[5].notifications, before + 1);
  take(1000);
  EXPECT_THAT(messages(), ElementsAre("key|token|"));
}

TEST_F(RingTest, ImpossibleIndicesCloseThisRingAndTellTheGuest) {
  const struct {
    const char* claim;
    bool of_requests;
    uint32_t distance;
  } rows[] = {
      {"request producer too far ahead", true, XENSTORE_RING_SIZE + 1},
      {"request producer behind", true, 0xffffffffu},
      {"response consumer ahead of the producer", false, 1},
      {"response consumer too far behind", false, 0u - (XENSTORE_RING_SIZE + 1)},
  };
  introduce();
  for (const auto& row : rows) {
    SCOPED_TRACE(row.claim);
    put(kRead);
    put(message_bytes(XS_WATCH, bars_to_nuls("key|token|")));
    if (row.of_requests) {
      page.req_prod = page.req_cons + row.distance;
    } else {
      page.rsp_cons = page.rsp_prod + row.distance;
    }
    event();
    EXPECT_EQ(page.error, uint32_t{XENSTORE_ERROR_RINGIDX});
    EXPECT_TRUE(server.watches().empty());
    EXPECT_TRUE(server.is_introduced(5));
    EXPECT_EQ(dom0.ask(XS_READ, "/tool|"), "");
    // It may start anew.
    page.connection = XENSTORE_RECONNECT;
    event();
    EXPECT_EQ(page.connection, uint32_t{XENSTORE_CONNECTED});
    EXPECT_EQ(page.error, uint32_t{XENSTORE_ERROR_NONE});
    put(kWrite);
    event();
    take(1000);
    EXPECT_THAT(messages(), ElementsAre("OK|"));
  }
}

TEST_F(RingTest, APayloadOverTheLimitClosesTheRing) {
  introduce();
  Header header{XS_WRITE, 0, 0, kPayloadMax + 1};
  put(std::string_view(reinterpret_cast<const char*>(&header), sizeof header));
  event();
  EXPECT_EQ(page.error, uint32_t{XENSTORE_ERROR_PROTO});
  put(kRead);
  event();
  EXPECT_EQ(take(1000), 0u);
}

TEST_F(RingTest, OurOwnIndicesAreNotTakenFromTheGuest) {
  introduce();
  put(kWrite);
  event();
  page.req_cons = 12345;
  page.rsp_prod = 54321;
  page.rsp_cons = static_cast<uint32_t>(heard.size());
  page.req_prod = static_cast<uint32_t>(kWrite.size());
  for (const char byte : kRead) page.req[MASK_XENSTORE_IDX(page.req_prod++)] = byte;
  event();
  EXPECT_EQ(page.req_cons, page.req_prod);
  EXPECT_EQ(page.error, uint32_t{XENSTORE_ERROR_NONE});
  take(1000);
  EXPECT_THAT(messages(), ElementsAre("OK|", "value"));
}

TEST_F(RingTest, NoPageWhateverItContainsHarmsTheServer) {
  introduce();
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    auto* bytes = reinterpret_cast<unsigned char*>(&page);
    if (round % 4 == 0) {
      for (size_t i = 0; i < sizeof page; ++i) bytes[i] = static_cast<unsigned char>(random());
      page.connection = random() % 2;
    }
    page.req_prod = page.req_cons + static_cast<uint32_t>(random() % 1100);
    page.rsp_cons = page.rsp_prod - static_cast<uint32_t>(random() % 1100);
    event();
  }
  EXPECT_EQ(dom0.ask(XS_RELEASE, "5|"), "OK|");
  EXPECT_EQ(link.guests[5].open_ports, 0u);
}

TEST_F(RingTest, ASecondIntroductionStartsTheRingAnew) {
  introduce();
  put(message_bytes(XS_WATCH, bars_to_nuls("key|token|")) + kWrite.substr(0, 5));
  event();
  take(1000);
  ASSERT_EQ(dom0.ask(XS_INTRODUCE, "5|1|3|"), "OK|");
  run();
  EXPECT_EQ(link.guests[5].open_ports, 1u);
  EXPECT_TRUE(server.watches().empty());
  heard.clear();
  put(kWrite);
  event();
  take(1000);
  EXPECT_THAT(messages(), ElementsAre("OK|"));
}

TEST_F(RingTest, ToIntroduceTheSameOnceMoreChangesNothing) {
  introduce();
  put(message_bytes(XS_WATCH, bars_to_nuls("key|token|")));
  event();
  take(1000);
  put(kWrite.substr(0, 5));
  event();
  introduce();
  EXPECT_FALSE(server.watches().empty());
  heard.clear();
  put(kWrite.substr(5));
  event();
  take(1000);
  EXPECT_THAT(messages(), ElementsAre("key|token|", "OK|"));
}

TEST_F(RingTest, AnIntroductionThatFailsLeavesTheDomainSilentUntilTheNext) {
  introduce();
  EXPECT_EQ(dom0.ask(XS_INTRODUCE, "5|1|666|"), "EINVAL");
  EXPECT_EQ(link.guests[5].open_ports, 0u);
  put(kRead);
  event();
  EXPECT_EQ(take(1000), 0u);
  introduce();
  put(kWrite);
  event();
  take(1000);
  EXPECT_THAT(messages(), ElementsAre("OK|"));
}

}  // namespace
}  // namespace xenopolis::xenstore
