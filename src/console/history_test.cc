#include "console/history.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "console/testing/memory_file.h"

namespace xenopolis::console {
namespace {

constexpr ConsoleId kOne{1, 0}, kOther{2, 0};

class HistoryTest : public testing::Test {
 protected:
  Stream attach(ConsoleId console = kOne, uint64_t incarnation = 1) {
    return history_->attach(console, incarnation).value().stream;
  }
  static std::string rest(const Stream& stream, Cursor cursor, uint64_t* missed = nullptr) {
    std::string text;
    uint64_t count = 0;
    for (Piece piece; piece = stream.next(cursor, count), !piece.text.empty();) text += piece.text;
    if (missed != nullptr) *missed = count;
    return text;
  }
  void restart(const HistoryLimits& limits = {}) {
    history_.reset();
    history_ = History::open(same_file(file_), limits).value();
  }

  Fd file_ = memory_file();
  std::unique_ptr<History> history_ = History::open(same_file(file_)).value();
};

TEST_F(HistoryTest, TextComesOutInPiecesWithTheirTimes) {
  Stream stream = attach();
  stream.append("one ", 1'000);
  stream.append("two", 2'000);
  Cursor cursor;
  uint64_t missed = 0;
  const Piece one = stream.next(cursor, missed), two = stream.next(cursor, missed);
  EXPECT_EQ(one.text, "one ");
  EXPECT_EQ(one.time_ms, 1'000u);
  EXPECT_EQ(two.text, "two");
  EXPECT_EQ(two.time_ms, 2'000u);
  EXPECT_TRUE(stream.next(cursor, missed).text.empty());
  EXPECT_EQ(missed, 0u);
  stream.append("!", 3'000);
  EXPECT_EQ(stream.next(cursor, missed).text, "!");
}

TEST_F(HistoryTest, SinceFindsTheFirstTextOfThatTimeOrLater) {
  Stream stream = attach();
  for (int i = 0; i < 1'000; ++i) stream.append(fmt::format("line {}\n", i), 10'000u + 10u * static_cast<unsigned>(i));
  EXPECT_EQ(rest(stream, stream.since(19'975)), "line 998\nline 999\n");
  EXPECT_EQ(rest(stream, stream.since(99'999)), "");
  EXPECT_EQ(rest(stream, stream.since(0)).substr(0, 7), "line 0\n");
}

TEST_F(HistoryTest, LastGoesBackSoManyBytesOrToTheBeginning) {
  Stream stream = attach();
  stream.append("0123456789", 1);
  EXPECT_EQ(rest(stream, stream.last(3)), "789");
  EXPECT_EQ(rest(stream, stream.last(1'000)), "0123456789");
}

TEST_F(HistoryTest, OfAConsoleThatWritesMuchTheOldestTextGoesAndACursorLearnsOfIt) {
  restart({.console_bytes = 8 * 1024, .total_bytes = 1 << 20});
  Stream stream = attach(), other = attach(kOther);
  other.append("stays", 1);
  std::string all;
  for (unsigned i = 0; i < 500; ++i) {
    const std::string line = fmt::format("line {} of very many that are written here\n", i);
    stream.append(line, i);
    all += line;
  }
  uint64_t missed = 0;
  const std::string held = rest(stream, {}, &missed);
  EXPECT_EQ(missed, stream.begin());
  EXPECT_EQ(held, all.substr(missed));
  EXPECT_GT(held.size(), 5'000u);
  EXPECT_LE(history_->bytes_held(), 9u * 1024);
  EXPECT_EQ(rest(other, {}), "stays");
}

TEST_F(HistoryTest, WhenAllIsFullTheOldestTextOfAnyConsoleGoes) {
  restart({.console_bytes = 4 * 1024, .total_bytes = 8 * 1024});
  Stream oldest = attach({1, 0}), second = attach({2, 0});
  oldest.append("oldest", 1);
  second.append("second", 2);
  for (DomId domid = 3; domid < 10; ++domid) attach({domid, 0}).append("text", domid);
  EXPECT_EQ(rest(oldest, {}), "");
  EXPECT_EQ(oldest.begin(), 6u);
  EXPECT_EQ(rest(second, {}), "second");
  EXPECT_EQ(history_->bytes_held(), 8u * 1024);
}

TEST_F(HistoryTest, ASuccessorGoesOnWithTheSameIncarnationAndAnewWithAnother) {
  Stream stream = attach(), other = attach(kOther);
  stream.set_ring_index(100);
  stream.append("before ", 1);
  stream.set_log_position({.logged = 7, .file_bytes = 30, .dropped = 0, .at_line_start = 0});
  other.append("gone", 1);
  restart();
  const History::Attached again = history_->attach(kOne, 1).value();
  EXPECT_TRUE(again.is_continued);
  EXPECT_FALSE(history_->attach(kOther, 2).value().is_continued);
  stream = again.stream;
  EXPECT_EQ(stream.ring_index(), 107u);
  EXPECT_EQ(stream.log_position().file_bytes, 30u);
  stream.append("after", 2);
  EXPECT_EQ(rest(stream, {}), "before after");
  EXPECT_EQ(history_->bytes_held(), 1024u);
}

TEST_F(HistoryTest, WhatIsForgottenGivesItsMemoryBack) {
  for (int round = 0; round < 1'000; ++round) {
    Stream stream = attach(kOne, static_cast<uint64_t>(round));
    stream.append(std::string(30'000, 'x'), 1);
    if (round % 2 == 0) history_->forget(stream);
  }
  EXPECT_LE(history_->bytes_held(), 64u * 1024);
  EXPECT_TRUE(rest(attach(kOne, 5'000), {}).empty());
}

TEST_F(HistoryTest, AQuietConsoleTakesABlockAndAState) {
  for (DomId domid = 1; domid <= 1'000; ++domid) attach({domid, 0}).append("a line when it came up\n", 1);
  EXPECT_EQ(history_->bytes_held(), 1'000u * 1024);
}

TEST_F(HistoryTest, OnlyOneProcessHasItAndSomethingElseIsRefused) {
  // A lock of its own: not the descriptor's copy.
  Fd again(open(fmt::format("/proc/self/fd/{}", file_.get()).c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_EQ(History::open(std::move(again)).error().code, EBUSY);
  Fd other = memory_file();
  ASSERT_EQ(ftruncate(other.get(), 4096), 0);
  EXPECT_EQ(History::open(std::move(other)).error().code, EINVAL);
  EXPECT_EQ(History::open(memory_file(), {.console_bytes = 100}).error().code, EINVAL);
}

}  // namespace
}  // namespace xenopolis::console
