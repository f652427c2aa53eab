// A guest's request that tells very many, and the others meanwhile.
#include <gmock/gmock.h>

#include "xenstore/check.h"
#include "xenstore/testing/ring_guest.h"
#include "xenstore/work.h"

namespace xenopolis::xenstore {
namespace {

constexpr unsigned kListeners = 20;
constexpr unsigned kWatches = 100;
constexpr unsigned kChanges = 300;

// Guest 1 may write /shared, where guests 10 to 29 watch 100 times each.
class BacklogTest : public GuestsTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(dom0.ask(XS_MKDIR, "/shared|"), "OK|");
    ASSERT_EQ(dom0.ask(XS_SET_PERMS, "/shared|r0|b1|"), "OK|");
    writer = std::make_unique<RingGuest>(guest(1));
    other = std::make_unique<RingGuest>(guest(2));
    for (unsigned i = 0; i < kListeners; ++i) {
      listeners.push_back(guest(static_cast<DomId>(10 + i)));
      for (unsigned token = 0; token < kWatches; ++token) {
        ASSERT_EQ(listeners.back().ask(XS_WATCH, "/shared|" + std::to_string(token) + "|"), "OK|");
      }
      listeners.back().events();
    }
  }
  // Sends the end of a transaction that makes kChanges nodes, and lets one round pass.
  void commit_much() {
    const uint32_t transaction = writer->begin();
    for (unsigned i = 0; i < kChanges; ++i) {
      ASSERT_EQ(writer->ask(XS_WRITE, "/shared/" + std::to_string(i) + "|x", transaction), "OK|");
    }
    run_until_quiet(server);
    writer->put(message_bytes(XS_TRANSACTION_END, bars_to_nuls("T|"), transaction));
    writer->notify();
    server.ready().run_once();
  }
  // Of one round.
  uint64_t work_of_a_round() {
    const uint64_t before = work_done;
    server.ready().run_once();
    return work_done - before;
  }

  std::unique_ptr<RingGuest> writer, other;
  std::vector<RingGuest> listeners;
};

TEST_F(BacklogTest, IsToldInTurnsBetweenWhichOthersAreServed) {
  const uint64_t before = work_done;
  commit_much();
  // Each change is heard by 2,000 watches, a unit at least each; the request itself tells but the first few.
  EXPECT_LT(work_done - before, 10u * 4 * kListeners * kWatches);
  unsigned rounds = 0;
  for (; !server.ready().empty() && rounds < 10'000; ++rounds) {
    other->put(message_bytes(XS_READ, bars_to_nuls("data|")));
    other->notify();
    ASSERT_LT(work_of_a_round(), 10u * 4 * kListeners * kWatches);
    ASSERT_EQ(other->take().size(), 1u) << "in the same round";
    for (RingGuest& listener : listeners) {
      listener.take();
      listener.notify();
    }
  }
  EXPECT_GT(rounds, kChanges / 10);
  EXPECT_EQ(find_faults(server), std::vector<std::string>());
}

TEST_F(BacklogTest, TheWriterIsServedAgainWhenItIsThroughAndEverybodyHasHeard) {
  commit_much();
  writer->take();
  writer->put(message_bytes(XS_READ, bars_to_nuls("/shared/1|")));
  writer->notify();
  server.ready().run_once();
  EXPECT_EQ(writer->take().size(), 0u) << "held until the others know";
  EXPECT_TRUE(run_until_quiet(server, 1'000'000));
  EXPECT_EQ(writer->take().size(), 1u);
  // Of the last change, too: what did not fit is one event for the watch's own path.
  for (RingGuest& listener : listeners) EXPECT_FALSE(listener.events().empty());
}

TEST_F(BacklogTest, OutlivesItsWriter) {
  commit_much();
  release(1);
  EXPECT_TRUE(run_until_quiet(server, 1'000'000));
  for (RingGuest& listener : listeners) EXPECT_FALSE(listener.events().empty());
  // The next domain of that number is not held.
  RingGuest next = guest(1);
  EXPECT_EQ(next.ask(XS_WRITE, "data/x|y"), "OK|");
  EXPECT_EQ(find_faults(server), std::vector<std::string>());
}

TEST_F(BacklogTest, MayBeLeftWhenTheServerEnds) {
  commit_much();
}

}  // namespace
}  // namespace xenopolis::xenstore
