// Guests that write what they like into their pages, whenever they like: they spoil their own text and input at most.
#include <random>
#include <thread>

#include "console/testing/consoles.h"

namespace xenopolis::console {
namespace {

constexpr DomId kHostile = 1;
constexpr DomId kHonest = 20;  // 2..20

class HostileGuestTest : public ConsolesTest {
 protected:
  void SetUp() override {
    ConsolesTest::SetUp();
    attach_all(kHostile, kHonest);
    settle();
  }
  xencons_interface& page() { return link.guest(kHostile).page; }
  Console& console(DomId domid = kHostile) { return *server.find(ConsoleId{domid, 0}); }
  void event() { server.on_event(port_of(kHostile)); }

  struct Writer final : Viewer {
    void on_output(Console&) override {}
    void on_room(Console&) override { ++rooms; }
    void on_end(Console&) override {}
    int rooms = 0;
  } writer;
  std::mt19937 random{1};
};

TEST_F(HostileGuestTest, WildIndicesAtAnyMomentSpoilItsOwnTextOnly) {
  constexpr uint32_t kNear[] = {0, 1, 2047, 2048, 2049, 4096, 0x7fff'ffff, 0x8000'0000, 0xffff'f800, 0xffff'ffff};
  for (int round = 0; round < 20'000; ++round) {
    XENCONS_RING_IDX* const indices[] = {&page().in_cons, &page().in_prod, &page().out_cons, &page().out_prod};
    XENCONS_RING_IDX& index = *indices[random() % 4];
    const uint32_t near = kNear[random() % std::size(kNear)];
    index = random() % 3 == 0 ? static_cast<uint32_t>(random()) : random() % 2 == 0 ? index + near : near;
    const uint64_t before = console().stream().end();
    if (random() % 4 != 0) event();
    if (random() % 8 == 0) console().write("input\n", writer);
    const DomId other = static_cast<DomId>(kHostile + 1 + random() % (kHonest - kHostile));
    write(other, random() % 300);
    if (random() % 4 != 0) server.run_turns();
    ASSERT_LE(console().stream().end() - before, Server::kTurnBytes + kOutputBytes);
  }
  settle();
  for (DomId domid = kHostile + 1; domid <= kHonest; ++domid) expect_heard(domid);
  EXPECT_LE(history->bytes_held(), HistoryLimits{}.console_bytes * uint64_t{kHonest});
  // And it may come back to its senses.
  page() = {};
  event();
  settle();
  const std::string before = recorder.said[name_of(kHostile)];
  link.guest(kHostile).write("sane again\n");
  event();
  settle();
  EXPECT_EQ(recorder.said[name_of(kHostile)], before + "sane again\n");
}

TEST_F(HostileGuestTest, GarbageInTheWholePageIsTakenForTextAtMost) {
  for (int round = 0; round < 2000; ++round) {
    auto* bytes = reinterpret_cast<uint8_t*>(&page());
    for (size_t i = 0; i < sizeof page(); ++i) bytes[i] = static_cast<uint8_t>(random());
    // Now and then an index near enough to be believed.
    if (round % 2 == 0) page().out_prod = console().stream().ring_index() + static_cast<uint32_t>(random() % 2049);
    const uint64_t before = console().stream().end();
    event();
    settle();
    ASSERT_LE(console().stream().end() - before, kOutputBytes);
    ASSERT_EQ(page().out_cons, page().out_prod);
  }
}

TEST_F(HostileGuestTest, IndicesThatChangeDuringALookAreReadOnce) {
  std::atomic<bool> is_over = false;
  std::thread guest([&] {
    std::mt19937 own(7);
    while (!is_over) {
      std::atomic_ref(page().out_prod).store(static_cast<uint32_t>(own()) % 5000, std::memory_order_release);
      std::atomic_ref(page().in_cons).store(static_cast<uint32_t>(own()) % 5000, std::memory_order_release);
    }
  });
  for (int round = 0; round < 20'000; ++round) {
    event();
    write(kHonest, 7);
    const uint64_t before = console().stream().end();
    server.run_turns();
    EXPECT_LE(console().stream().end() - before, Server::kTurnBytes + kOutputBytes);
    if (round % 16 == 0) {
      EXPECT_LE(console().write(std::string(4000, 'i'), writer), kInputBytes);
    }
  }
  is_over = true;
  guest.join();
  settle();
  expect_heard(kHonest);
}

TEST_F(HostileGuestTest, ItsOwnClaimOfWhatWasTakenIsNeverReadBack) {
  write(kHostile, 100);
  settle();
  page().out_cons = 0x1234'5678;
  page().in_prod = 0x8765'4321;
  EXPECT_EQ(console().write("input\n", writer), 6u);
  EXPECT_EQ(page().in_prod, 6u);
  write(kHostile, 0);
  settle();
  EXPECT_EQ(console().stream().end(), 100u);
  page().out_cons = 100;
  write(kHostile, 50);
  settle();
  expect_heard(kHostile);
}

// Its page is all that input can fill.
TEST_F(HostileGuestTest, GuestThatReadsNothingHoldsNothingButItsRing) {
  const std::string input = text_of(99, 0, 5000);
  EXPECT_EQ(console().write(input, writer), kInputBytes);
  for (int round = 0; round < 100; ++round) {
    EXPECT_EQ(console().write(input.substr(kInputBytes), writer), 0u);
    event();
    settle();
  }
  EXPECT_EQ(writer.rooms, 0);
  // It reads a little, and the writer is told once.
  EXPECT_EQ(link.guest(kHostile).read(10), input.substr(0, 10));
  event();
  event();
  EXPECT_EQ(writer.rooms, 1);
  EXPECT_EQ(console().write(input.substr(kInputBytes), writer), 10u);
  std::string read = link.guest(kHostile).read();
  size_t given = kInputBytes + 10;
  while (given < input.size()) {
    given += console().write(input.substr(given), writer);
    read += link.guest(kHostile).read(1 + random() % kInputBytes);
  }
  read += link.guest(kHostile).read();
  EXPECT_EQ(read, input.substr(10));
}

TEST_F(HostileGuestTest, ImpossibleReadingIndexMakesNoRoomUntilItIsPossibleAgain) {
  EXPECT_EQ(console().write("first\n", writer), 6u);
  for (const uint32_t wild : {7u, 0x8000'0000u, uint32_t{6 - kInputBytes - 1}}) {
    page().in_cons = wild;
    EXPECT_EQ(console().write("second\n", writer), 0u) << wild;
    event();
    EXPECT_EQ(writer.rooms, 0) << wild;
  }
  page().in_cons = 0;
  event();
  EXPECT_EQ(writer.rooms, 1);
  EXPECT_EQ(console().write("second\n", writer), 7u);
  EXPECT_EQ(link.guest(kHostile).read(), "first\nsecond\n");
}

// The one who waited for room is gone: nobody is told.
TEST_F(HostileGuestTest, RoomForAWriterWhoHasLeftIsNobodys) {
  console().add_viewer(writer);
  console().write(std::string(2000, 'i'), writer);
  console().remove_viewer(writer);
  link.guest(kHostile).read();
  event();
  EXPECT_EQ(writer.rooms, 0);
}

// Grants may name one page twice, also that of start_info: what is in it belongs to whoever looks first.
TEST_F(HostileGuestTest, OnePageAsTwoConsolesIsItsOwnProblem) {
  struct OnePage final : DomainLink {
    xencons_interface shared{};
    Result<AttachedConsole> attach(const ConsoleRequest& request) override {
      return AttachedConsole{&shared, request.console.index + 1u};
    }
    void notify(Port) override {}
    void detach(Port) override {}
  } one_page;
  auto memory = History::open(memory_file()).value();
  Server twice(one_page, *memory, clock, calendar);
  for (uint16_t index = 0; index < 2; ++index) {
    ASSERT_TRUE(twice.attach(FakeLink::request({kHostile, index}, "guest")));
  }
  for (int round = 0; round < 1000; ++round) {
    RingGuest(one_page.shared).write(text_of(kHostile, 0, random() % 3000));
    twice.on_event(1 + random() % 2);
    twice.run_turns();
  }
  for (uint16_t index = 0; index < 2; ++index) twice.detach({kHostile, index});
  EXPECT_EQ(twice.consoles(), 0u);
}

TEST_F(HostileGuestTest, RebootedDomainBeginsAnewWhateverTheOldOneLeftInThePage) {
  write(kHostile, 1000);
  settle();
  write(kHostile, 500);
  page().in_cons = page().out_cons = 0xdead'beef;
  server.detach({kHostile, 0});
  expect_heard(kHostile);
  page() = {};
  ASSERT_TRUE(server.attach(FakeLink::request({kHostile, 0}, "again", 1'000'000)));
  EXPECT_EQ(console().stream().end(), 0u);
  link.guest(kHostile).write("booting\n");
  event();
  settle();
  EXPECT_EQ(recorder.said["again"], "booting\n");
  EXPECT_EQ(console().write("hello", writer), 5u);
  EXPECT_EQ(link.guest(kHostile).read(), "hello");
}

// Who looks at once, as a log does, misses nothing, though the memory for the past is full of storms.
TEST_F(HostileGuestTest, OthersFillThePastAndNotTheWayToTheLog) {
  constexpr DomId kStorms = 100;
  auto memory = History::open(memory_file(), {.console_bytes = 64 * 1024, .total_bytes = 256 * 1024}).value();
  Recorder log;
  Server full(link, *memory, clock, calendar);
  full.add_viewer(log);
  for (DomId domid = 100; domid < 100 + kStorms; ++domid) {
    ASSERT_TRUE(full.attach(FakeLink::request({domid, 0}, name_of(domid))));
  }
  std::map<DomId, uint64_t> written;
  for (int round = 0; round < 100; ++round) {
    calendar.advance_ns(1'000'000);
    for (DomId domid = 100; domid < 100 + kStorms; ++domid) {
      // One in ten writes a little now and then, the others all that they can.
      const size_t bytes = domid % 10 != 0 ? kOutputBytes : random() % 8 == 0 ? 40 : 0;
      written[domid] += link.guest(domid).write(text_of(domid, written[domid], bytes));
      full.on_event(port_of(domid));
    }
    full.run_turns();
    ASSERT_LE(memory->bytes_held(), 256u * 1024);
  }
  while (full.has_work()) full.run_turns();
  EXPECT_EQ(log.missed, 0u);
  for (DomId domid = 100; domid < 100 + kStorms; ++domid) {
    ASSERT_EQ(log.said[name_of(domid)].size(), written[domid]);
    ASSERT_EQ(text_fault(domid, 0, log.said[name_of(domid)]), "");
  }
}

TEST_F(HostileGuestTest, ConsoleThatFindsNoStreamLeavesNoChannelBehind) {
  // All streams there can be; those of a predecessor count.
  for (uint32_t i = 0; i < 65'536 - kHonest; ++i) {
    ASSERT_TRUE(history->attach({static_cast<DomId>(1000 + i % 30'000), static_cast<uint16_t>(1 + i / 30'000)}, 1));
  }
  EXPECT_EQ(server.attach(FakeLink::request({500, 0}, "one-too-many")).error().code, ENOSPC);
  EXPECT_EQ(link.detached[port_of(DomId{500})], 1);
  server.detach({2, 0});
  EXPECT_TRUE(server.attach(FakeLink::request({500, 0}, "fits-now")));
}

TEST_F(HostileGuestTest, LastWordsHaveTheTimeAtWhichTheyWereTaken) {
  struct Reader final : Viewer {
    void on_output(Console&) override {}
    void on_end(Console& console) override {
      Cursor cursor;
      uint64_t missed = 0;
      time_ms = console.stream().next(cursor, missed).time_ms;
    }
    uint64_t time_ms = 0;
  } reader;
  server.add_viewer(reader);
  calendar.advance_ns(5'000'000'000);
  link.guest(kHostile).write("last words\n");
  server.detach({kHostile, 0});
  EXPECT_EQ(reader.time_ms, 5'000u);
}

}  // namespace
}  // namespace xenopolis::console
