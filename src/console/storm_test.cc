// What consoles that write without end cost the others, counted in bytes that are taken before theirs.
#include <random>

#include "console/testing/consoles.h"

namespace xenopolis::console {
namespace {

constexpr DomId kConsoles = 3000;
constexpr DomId kStorms = 50;  // the first ones
// A turn ends with the look that makes it long enough.
constexpr uint64_t kTurn = Server::kTurnBytes + kOutputBytes;

class StormTest : public ConsolesTest {
 protected:
  void SetUp() override {
    ConsolesTest::SetUp();
    server.remove_viewer(recorder);
    server.add_viewer(watcher);
    attach_all(1, kConsoles);
    settle();
    watcher.bytes.clear();
    link.on_notify = [this](ConsoleId id) {
      // As fast as a machine takes 300 MB/s.
      if (is_time_passing) clock.advance_ns(kOutputBytes * 10 / 3);
      if (id.domid <= kStorms) storm(id.domid);
      if (then) std::exchange(then, nullptr)();
    };
  }
  // Its ring is full again.
  void storm(DomId domid) {
    link.guest(domid).write(kFull);
    server.on_event(port_of(domid));
  }
  void start_storms() {
    for (DomId domid = 1; domid <= kStorms; ++domid) storm(domid);
  }
  // They have used up what they may write at once.
  void use_up_credit() {
    for (uint32_t round = 0; round < Server::kCredit / kOutputBytes + 1; ++round) server.run_turns();
  }
  // In the middle of a round, after so many turns, `domid` writes a line. How many bytes of others come first?
  uint64_t bytes_before(DomId domid, unsigned turns) {
    std::optional<uint64_t> written_at;
    std::function<void()> wait = [&] {
      if (turns-- != 0) {
        then = wait;
        return;
      }
      written_at = server.bytes_taken();
      write(domid, kTextLine);
    };
    then = wait;
    for (const uint64_t before = watcher.bytes[domid]; watcher.bytes[domid] == before;) {
      watcher.at.erase(domid);
      server.run_turns();
    }
    return watcher.at[domid] - *written_at - kTextLine;
  }

  // Notes how much had been taken of all when a console's text was seen.
  struct Watcher final : Viewer {
    explicit Watcher(Server& of) : server_(of) {}
    void on_output(Console& console) override {
      bytes[console.id().domid] = console.stream().end();
      at[console.id().domid] = server_.bytes_taken();
    }
    void on_end(Console&) override {}
    std::map<DomId, uint64_t> bytes, at;

   private:
    Server& server_;
  } watcher{server};

  static inline const std::string kFull = std::string(kOutputBytes, 's');
  bool is_time_passing = true;
  std::function<void()> then;  // at the next notification
};

TEST_F(StormTest, ALineOfAQuietConsoleWaitsForOneRoundOfAllStormsTogether) {
  start_storms();
  use_up_credit();
  std::mt19937 random(1);
  uint64_t worst = 0, sum = 0;
  constexpr unsigned kTries = 200;
  for (unsigned i = 0; i < kTries; ++i) {
    const DomId domid = static_cast<DomId>(kStorms + 1 + random() % (kConsoles - kStorms));
    const uint64_t waited = bytes_before(domid, static_cast<unsigned>(random() % 100));
    worst = std::max(worst, waited);
    sum += waited;
  }
  RecordProperty("worst_bytes", static_cast<int>(worst));
  RecordProperty("mean_bytes", static_cast<int>(sum / kTries));
  // What is left of a round, and those storms that have earned a turn meanwhile.
  EXPECT_LE(sum / kTries, Server::kStormBytes);
  EXPECT_LE(worst, Server::kStormBytes + kOutputBytes * (kStorms + 1));
}

TEST_F(StormTest, NewStormsHaveOneTurnEachBeforeALineOfAQuietConsole) {
  start_storms();
  const uint64_t waited = bytes_before(kConsoles, kStorms / 2);
  EXPECT_LE(waited, Server::kStormBytes + kTurn * (kStorms + 1));
}

TEST_F(StormTest, ManyQuietConsolesWaitForEachOtherAndOneRound) {
  start_storms();
  use_up_credit();
  const uint64_t before = server.bytes_taken();
  for (DomId domid = kStorms + 1; domid <= kConsoles; ++domid) write(domid, kTextLine);
  server.run_turns();
  for (DomId domid = kStorms + 1; domid <= kConsoles; ++domid) {
    ASSERT_EQ(watcher.bytes[domid], kTextLine);
    // Of the storms none that had not earned a turn by then.
    ASSERT_LE(watcher.at[domid] - before, (kConsoles - kStorms) * kTextLine + kStorms * kTurn);
  }
}

TEST_F(StormTest, StormsShareWhatIsLeft) {
  is_time_passing = false;
  start_storms();
  use_up_credit();
  const std::map<DomId, uint64_t> before = watcher.bytes;
  for (int round = 0; round < 200; ++round) server.run_turns();
  uint64_t least = ~uint64_t{0}, most = 0;
  for (DomId domid = 1; domid <= kStorms; ++domid) {
    const uint64_t taken = watcher.bytes[domid] - before.at(domid);
    least = std::min(least, taken);
    most = std::max(most, taken);
  }
  EXPECT_LE(most - least, kTurn);
  EXPECT_GE(most, 200 * Server::kStormBytes / kStorms - kTurn);
}

TEST_F(StormTest, StormsGoOnHoweverManyHaveCredit) {
  start_storms();
  use_up_credit();
  for (int round = 0; round < 15; ++round) {
    const uint64_t before = server.bytes_taken();
    for (DomId domid = kStorms + 1; domid <= kConsoles; ++domid) write(domid, 1);
    server.run_turns();
    ASSERT_GE(server.bytes_taken() - before, kConsoles - kStorms + Server::kStormBytes);
  }
}

TEST_F(StormTest, CreditComesBackWithTime) {
  start_storms();
  use_up_credit();
  link.on_notify = {};
  settle();
  is_time_passing = false;
  // A former storm is served before the others, once it has earned a turn.
  clock.advance_ns(kOutputBytes * Server::kNsPerCreditedByte);
  write(1, kTextLine);
  for (DomId domid = 2; domid <= kStorms; ++domid) storm(domid);
  const uint64_t before = server.bytes_taken(), had = watcher.bytes[1];
  server.run_turns();
  EXPECT_EQ(watcher.bytes[1], had + kTextLine);
  EXPECT_LE(watcher.at[1] - before, kTextLine);
}

// Whoever sends events and has written nothing gets looks at its ring, not the guests' attention, and no credit.
TEST_F(StormTest, EventsWithoutTextCostALookEach) {
  const size_t notified = link.notified.size();
  const uint64_t before = server.bytes_taken();
  for (int round = 0; round < 1000; ++round) {
    for (DomId domid = 100; domid < 150; ++domid) {
      for (int again = 0; again < 3; ++again) server.on_event(port_of(domid));
    }
    ASSERT_TRUE(server.has_work());
    server.run_turns();
    ASSERT_FALSE(server.has_work());
  }
  EXPECT_EQ(server.bytes_taken(), before);
  EXPECT_EQ(link.notified.size(), notified);
}

}  // namespace
}  // namespace xenopolis::console
