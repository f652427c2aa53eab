// The daemon is killed at every instruction of what it does for a console: its successor finds every byte of the guest,
// once.
#include <gtest/gtest.h>

#include "base/log.h"
#include "console/server.h"
#include "console/testing/fake_guest.h"
#include "console/testing/step_by_step.h"
#include "console/testing/text.h"

namespace xenopolis::console {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kIsSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif
#else
constexpr bool kIsSanitized = false;
#endif

constexpr HistoryLimits kLimits{.console_bytes = 4 * 1024, .total_bytes = 6 * 1024};
constexpr DomId kDomid = 7, kNeighbour = 8;
constexpr uint64_t kIncarnation = 5;
constexpr size_t kPageBytes = 4096;

// A page of a guest in a file.
class SharedRing {
 public:
  explicit SharedRing(Fd file) : file_(std::move(file)) {
    CHECK(ftruncate(file_.get(), kPageBytes) == 0);
    page_ =
        static_cast<xencons_interface*>(mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0));
    CHECK(page_ != MAP_FAILED);
  }
  ~SharedRing() { munmap(page_, kPageBytes); }
  SharedRing(const SharedRing&) = delete;
  SharedRing& operator=(const SharedRing&) = delete;

  const Fd& file() const { return file_; }
  xencons_interface& page() { return *page_; }

 private:
  Fd file_;
  xencons_interface* page_;
};

class OneRingLink final : public DomainLink {
 public:
  explicit OneRingLink(xencons_interface& page) : page_(page) {}
  Result<AttachedConsole> attach(const ConsoleRequest& request) override {
    return AttachedConsole{&page_, request.remote_port};
  }
  void notify(Port) override {}
  void detach(Port) override {}
  xencons_interface& page() { return page_; }

 private:
  xencons_interface& page_;
};

// A daemon as it is between its turns.
struct Daemon {
  Daemon(Fd memory, xencons_interface& page) : link(page), history(History::open(std::move(memory), kLimits).value()) {}

  static ConsoleRequest request(uint64_t incarnation) {
    ConsoleRequest request{};
    request.kind = ConsoleRequestKind::kAttach;
    request.console = {kDomid, 0};
    request.remote_port = 1;
    request.incarnation = incarnation;
    request.name[0] = 'g';
    return request;
  }
  void attach(uint64_t incarnation = kIncarnation) { CHECK(server.attach(request(incarnation))); }
  void settle() {
    server.on_event(1);
    while (server.has_work()) server.run_turns();
  }
  Stream& stream() { return server.find(ConsoleId{kDomid, 0})->stream(); }

  OneRingLink link;
  std::unique_ptr<History> history;
  ManualClock clock;
  Server server{link, *history, clock, clock};
};

class DeathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    log::start("death_test", "error");
    if (kIsSanitized) GTEST_SKIP() << "the sanitizer's own instructions are too many to stop at each";
  }
  void guest_writes(size_t bytes) {
    ASSERT_EQ(RingGuest(ring_.page()).write(text_of(kDomid, written_, bytes)), bytes);
    written_ += bytes;
  }
  // What the console has, and what a daemon that lives has taken.
  void fill(size_t bytes) {
    Daemon daemon(same_file(memory_), ring_.page());
    daemon.attach();
    for (; bytes != 0; daemon.clock.advance_ns(3'000'000)) {
      const size_t some = std::min<size_t>(bytes, 700);
      guest_writes(some);
      daemon.settle();
      bytes -= some;
    }
  }
  // A neighbour's blocks, younger than the console's.
  void fill_neighbour(size_t bytes) {
    Daemon daemon(same_file(memory_), ring_.page());
    Stream stream = daemon.history->attach({kNeighbour, 0}, 1).value().stream;
    stream.append(text_of(kNeighbour, 0, bytes), 1);
  }

  // Kills a daemon that has attached anywhere in `act`, and looks at what its successor has in the end.
  void kill_everywhere_in(const std::function<void(Daemon&)>& act, const std::function<void(Daemon&)>& look,
                          size_t more = 0) {
    std::unique_ptr<Daemon> daemon;
    const uint64_t before = written_;
    const unsigned moments = for_every_moment(
        {&memory_, &ring_.file()},
        [&] {
          daemon = std::make_unique<Daemon>(same_file(memory_), ring_.page());
          daemon->attach();
        },
        [&] { act(*daemon); },
        [&](const std::vector<FileContents>& left) {
          if (HasFailure()) return;
          SharedRing ring(left[1].make_file());
          // The guest goes on: what is free by now is soon something else.
          written_ += RingGuest(ring.page()).write(text_of(kDomid, written_, more));
          Daemon successor(left[0].make_file(), ring.page());
          successor.attach();
          look(successor);
          written_ = before;
        });
    if (moments == 0) GTEST_SKIP() << "no ptrace(2)";
    RecordProperty("moments", static_cast<int>(moments));
    EXPECT_GT(moments, 1u);
  }
  // All that the guest has written, once; at least `least` of it is still held.
  void expect_all(Daemon& successor, uint64_t least) {
    successor.settle();
    ASSERT_EQ(successor.stream().end(), written_);
    ASSERT_LE(successor.stream().begin(), written_ - std::min(written_, least));
    ASSERT_LE(successor.history->bytes_held(), kLimits.total_bytes);
    Cursor cursor;
    uint64_t missed = 0;
    for (;;) {
      const uint64_t from = std::max(cursor.offset, successor.stream().begin());
      const Piece piece = successor.stream().next(cursor, missed);
      if (piece.text.empty()) break;
      ASSERT_EQ(text_fault(kDomid, from, piece.text), "");
    }
    ASSERT_EQ(cursor.offset, written_);
  }
  void expect_all_when_killed_in_a_turn(uint64_t least) {
    kill_everywhere_in([](Daemon& daemon) { daemon.settle(); },
                       [&](Daemon& successor) { expect_all(successor, least); }, kOutputBytes);
  }

  const Fd memory_ = memory_file();
  SharedRing ring_{memory_file()};
  uint64_t written_ = 0;
};

TEST_F(DeathTest, InTheFirstTurnOfAConsole) {
  guest_writes(100);
  expect_all_when_killed_in_a_turn(100);
}

TEST_F(DeathTest, WhileTextThatWrapsInTheRingGoesIntoANewBlock) {
  fill(1950);  // the ring's end is near, and a block's
  guest_writes(300);
  expect_all_when_killed_in_a_turn(300);
}

TEST_F(DeathTest, WhileTheConsolesOldestTextMakesRoom) {
  fill(4100);
  guest_writes(1100);
  expect_all_when_killed_in_a_turn(1100);
}

TEST_F(DeathTest, WhileTheOldestTextOfAllMakesRoom) {
  fill(900);
  fill_neighbour(2000);
  fill_neighbour(2000);
  guest_writes(1500);
  expect_all_when_killed_in_a_turn(1500);
}

TEST_F(DeathTest, WhileInputIsGivenToTheGuest) {
  fill(100);
  guest_writes(50);
  struct Nobody final : Viewer {
    void on_output(Console&) override {}
    void on_end(Console&) override {}
  } nobody;
  kill_everywhere_in(
      [&](Daemon& daemon) {
        daemon.server.find(ConsoleId{kDomid, 0})->write("some input\n", nobody);
      },
      [&](Daemon& successor) {
        const std::string read = RingGuest(successor.link.page()).read();
        ASSERT_TRUE(read.empty() || read == "some input\n") << read;
        expect_all(successor, 150);
      });
}

TEST_F(DeathTest, WhileALogSaysWhereItStands) {
  fill(500);
  const LogPosition before{100, 1100, 0, 1, 0}, after{500, 1515, 15, 0, 0};
  {
    Daemon daemon(same_file(memory_), ring_.page());
    daemon.attach();
    daemon.stream().set_log_position({50, 1000, 7, 1, 0});
    daemon.stream().set_log_position(before);
  }
  kill_everywhere_in([&](Daemon& daemon) { daemon.stream().set_log_position(after); },
                     [&](Daemon& successor) {
                       const LogPosition found = successor.stream().log_position();
                       const LogPosition& expected = found.logged == after.logged ? after : before;
                       ASSERT_EQ(found.logged, expected.logged);
                       ASSERT_EQ(found.file_bytes, expected.file_bytes);
                       ASSERT_EQ(found.dropped, expected.dropped);
                       ASSERT_EQ(found.at_line_start, expected.at_line_start);
                     });
}

// A guest with an impossible index loses its output, not what it writes afterwards.
TEST_F(DeathTest, WhileAnImpossibleIndexIsSkipped) {
  fill(200);
  ring_.page().out_prod = ring_.page().out_prod + 0x1234'5678;
  kill_everywhere_in([](Daemon& daemon) { daemon.settle(); },
                     [&](Daemon& successor) {
                       successor.settle();
                       ASSERT_EQ(successor.stream().end(), written_);
                       const std::string more = text_of(kDomid, written_, 64);
                       ASSERT_EQ(RingGuest(successor.link.page()).write(more), more.size());
                       successor.settle();
                       ASSERT_EQ(successor.stream().end(), written_ + more.size());
                     });
}

// The next domain of that number has nothing of this one, and its ring is where its page says.
TEST_F(DeathTest, WhileAnotherDomainOfThatNumberIsAttached) {
  fill(3000);
  kill_everywhere_in(
      [](Daemon& daemon) {
        daemon.server.detach({kDomid, 0});
      },
      [&](Daemon& successor) {
        successor.settle();
        successor.server.detach({kDomid, 0});
        successor.attach(kIncarnation + 1);
        ASSERT_EQ(successor.stream().end(), 0u);
        ASSERT_EQ(successor.stream().begin(), 0u);
        ASSERT_EQ(successor.history->bytes_held(), 0u);
      });
}

TEST_F(DeathTest, WhileANewConsoleIsAttachedWhosePageHasBeenUsedBefore) {
  // A predecessor without a history has taken some of it.
  ring_.page().out_prod = 5000;
  ring_.page().out_cons = 4900;
  std::unique_ptr<Daemon> daemon;
  for_every_moment(
      {&memory_, &ring_.file()}, [&] { daemon = std::make_unique<Daemon>(same_file(memory_), ring_.page()); },
      [&] { daemon->attach(); },
      [&](const std::vector<FileContents>& left) {
        if (HasFailure()) return;
        SharedRing ring(left[1].make_file());
        Daemon successor(left[0].make_file(), ring.page());
        successor.attach();
        successor.settle();
        ASSERT_EQ(successor.stream().end(), 100u) << "where the page said that it stands";
        ASSERT_EQ(ring.page().out_cons, 5000u);
      });
}

}  // namespace
}  // namespace xenopolis::console
