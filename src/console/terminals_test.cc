#include "console/terminals.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <vector>

#include "console/testing/fake_guest.h"
#include "console/testing/memory_file.h"

namespace xenopolis::console {
namespace {

using testing::HasSubstr;

constexpr ConsoleId kOne{1, 0};

class TerminalsTest : public testing::Test {
 protected:
  void SetUp() override { attach(kOne, "one"); }

  void attach(ConsoleId id, const std::string& name) {
    ASSERT_TRUE(server_.attach(FakeLink::request(id, name, ++incarnation_)));
    server_.run_turns();
  }
  // All of it, in as many turns as the ring needs.
  void guest_writes(std::string_view text) {
    while (!text.empty()) {
      text.remove_prefix(link_.guest(1).write(text));
      server_.on_event(FakeLink::port_of(kOne));
      while (server_.has_work()) server_.run_turns();
    }
  }
  // Turns of the loop until `done`, or for too long.
  template <class Done>
  bool run_until(Done done) {
    const MonotonicClock clock;
    const uint64_t give_up_ns = clock.now_ns() + 5'000'000'000;
    while (!done()) {
      EXPECT_TRUE(loop_.run_once(1));
      while (server_.has_work()) server_.run_turns();
      if (clock.now_ns() > give_up_ns) return false;
    }
    return true;
  }
  // Asks for a terminal and opens it, as xenconsole does.
  Fd open_terminal(ConsoleId id = kOne) {
    terminals_.open(id);
    EXPECT_EQ(told_.back().kind, ConsoleReplyKind::kTerminalOpened);
    EXPECT_EQ(told_.back().error, 0);
    return open_path();
  }
  Fd open_path() {
    Fd fd(::open(told_.back().path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    EXPECT_TRUE(fd) << told_.back().path;
    return fd;
  }
  std::string read_until(const Fd& fd, std::string_view text) {
    std::string all;
    run_until([&] {
      char bytes[4096];
      for (ssize_t count; (count = read(fd.get(), bytes, sizeof bytes)) > 0;)
        all.append(bytes, static_cast<size_t>(count));
      return all.find(text) != std::string::npos;
    });
    return all;
  }
  bool was_told(ConsoleReplyKind kind) {
    return std::any_of(told_.begin(), told_.end(), [&](const ConsoleReply& reply) { return reply.kind == kind; });
  }

  EventLoop loop_{EventLoop::create().value()};
  ManualClock clock_, calendar_;
  FakeLink link_;
  std::unique_ptr<History> history_ = History::open(memory_file()).value();
  Server server_{link_, *history_, clock_, calendar_};
  std::vector<ConsoleReply> told_;
  Terminals terminals_{server_, loop_, [this](const ConsoleReply& reply) { told_.push_back(reply); },
                       TerminalTimes{.look_ms = 1, .first_open_ms = 200, .name_ms = 100, .last_words_ms = 200}};
  uint64_t incarnation_ = 0;
};

TEST_F(TerminalsTest, WhoOpensItSeesThePastAndWhatFollows) {
  guest_writes("past\n");
  EXPECT_EQ(terminals_.count(), 0u);
  const Fd terminal = open_terminal();
  EXPECT_EQ(read_until(terminal, "past\n"), "past\n") << "raw: no carriage returns are added";
  guest_writes("present\n");
  EXPECT_EQ(read_until(terminal, "present\n"), "present\n");
}

TEST_F(TerminalsTest, QuestionsOfThePastAreNotAskedAgain) {
  const std::string question = "\x1b[6n", color = "\x1b[31m";
  guest_writes("then" + question + color + "red" + color.substr(0, 2));
  const Fd terminal = open_terminal();
  EXPECT_EQ(read_until(terminal, "red"), "then" + color + "red");
  guest_writes(color.substr(2) + "still" + question + "now");
  EXPECT_EQ(read_until(terminal, "now"), color + "still" + question + "now");
  const std::string long_one = "\x1b]0;" + std::string(1000, 't') + "\x07";
  guest_writes(long_one + "end");
  EXPECT_EQ(read_until(terminal, "end"), long_one + "end") << "nothing is kept back or cut";
}

TEST_F(TerminalsTest, ThePastIsLimited) {
  guest_writes(std::string(2 * Terminals::kPastBytes, '.') + "end");
  const std::string seen = read_until(open_terminal(), "end");
  EXPECT_EQ(seen.size(), Terminals::kPastBytes);
}

TEST_F(TerminalsTest, TypedInputReachesTheGuestInOrderHoweverSlowItReads) {
  const Fd terminal = open_terminal();
  std::string typed;
  for (int i = 0; typed.size() < 6000; ++i) typed += std::to_string(i) + ",";
  std::string got, left = typed;
  ASSERT_TRUE(run_until([&] {
    const ssize_t count = write(terminal.get(), left.data(), left.size());
    if (count > 0) left.erase(0, static_cast<size_t>(count));
    const std::string some = link_.guest(1).read(100);
    got += some;
    if (!some.empty()) server_.on_event(FakeLink::port_of(kOne));
    return got.size() == typed.size();
  }));
  EXPECT_EQ(got, typed);
}

TEST_F(TerminalsTest, WhatWasTypedLastIsNotLostWhenItsTerminalIsClosed) {
  Fd terminal = open_terminal();
  const std::string typed(3000, 'k');
  ASSERT_EQ(write(terminal.get(), typed.data(), typed.size()), 3000);
  terminal.reset();
  std::string got;
  ASSERT_TRUE(run_until([&] {
    got += link_.guest(1).read();
    server_.on_event(FakeLink::port_of(kOne));
    return got.size() == typed.size();
  }));
}

TEST_F(TerminalsTest, TwoWhoTypeAtOnceBothGetRoom) {
  struct Other final : Viewer {
    void on_output(Console&) override {}
    void on_end(Console&) override {}
    void on_room(Console& console) override { left -= console.write(std::string(left, 'o'), *this); }
    size_t left = 3000;
  } other;
  const Fd terminal = open_terminal();
  ASSERT_EQ(write(terminal.get(), std::string(3000, 't').data(), 3000), 3000);
  other.on_room(*server_.find(kOne));
  size_t got = 0;
  EXPECT_TRUE(run_until([&] {
    got += link_.guest(1).read(100).size();
    server_.on_event(FakeLink::port_of(kOne));
    return got == 6000;
  }));
}

TEST_F(TerminalsTest, WhoReadsTooSlowlyLearnsHowMuchHeMissed) {
  const Fd terminal = open_terminal();
  guest_writes("first\n");
  std::string seen = read_until(terminal, "first\n");
  const std::string line(99, '.');
  for (int i = 0; i < 5000; ++i) guest_writes(line + "\n");
  guest_writes("last\n");
  seen += read_until(terminal, "last\n");
  const size_t mark = seen.find("\r\n[");
  ASSERT_NE(mark, std::string::npos);
  unsigned long long missed = 0;
  ASSERT_EQ(sscanf(seen.c_str() + mark, "\r\n[%llu bytes dropped]", &missed), 1);
  const std::string text = "\r\n[" + std::to_string(missed) + " bytes dropped]\r\n";
  EXPECT_EQ(seen.find("\r\n[", mark + 1), std::string::npos);
  EXPECT_EQ(seen.size() - text.size() + missed, 5000 * 100 + 11u);
}

TEST_F(TerminalsTest, GoesWhenTheLastCloses) {
  Fd terminal = open_terminal();
  guest_writes("hello");
  read_until(terminal, "hello");
  Fd second = open_path();
  terminal.reset();
  guest_writes("again");
  EXPECT_EQ(read_until(second, "again"), "again");
  EXPECT_FALSE(was_told(ConsoleReplyKind::kTerminalClosed));
  second.reset();
  EXPECT_TRUE(run_until([&] { return was_told(ConsoleReplyKind::kTerminalClosed); }));
  EXPECT_EQ(terminals_.count(), 1u) << "its name is nobody else's for a while";
  EXPECT_TRUE(run_until([&] { return terminals_.count() == 0; }));
  const Fd next = open_terminal();
  guest_writes("anew");
  EXPECT_THAT(read_until(next, "anew"), HasSubstr("anew"));
}

TEST_F(TerminalsTest, GoesWhenNobodyComes) {
  terminals_.open(kOne);
  EXPECT_TRUE(run_until([&] { return was_told(ConsoleReplyKind::kTerminalClosed); }));
  EXPECT_TRUE(run_until([&] { return terminals_.count() == 0; }));
}

TEST_F(TerminalsTest, WhoComesWhileTheNameIsTakenBackIsServed) {
  open_terminal().reset();
  ASSERT_TRUE(run_until([&] { return was_told(ConsoleReplyKind::kTerminalClosed); }));
  const std::string path = told_.front().path;
  const Fd late(::open(path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(run_until([&] { return told_.back().kind == ConsoleReplyKind::kTerminalOpened; }));
  EXPECT_EQ(told_.back().path, path);
  guest_writes("late");
  EXPECT_THAT(read_until(late, "late"), HasSubstr("late"));
}

TEST_F(TerminalsTest, WhoComesAnewAtOnceSeesThePastToo) {
  guest_writes("past\n");
  for (int time = 0; time < 2; ++time) {
    told_.clear();
    EXPECT_EQ(read_until(open_terminal(), "past\n"), "past\n");
    ASSERT_TRUE(run_until([&] { return was_told(ConsoleReplyKind::kTerminalClosed); }));
  }
}

TEST_F(TerminalsTest, SecondRequestIsAnsweredWithTheSameTerminal) {
  terminals_.open(kOne);
  const std::string path = told_.back().path;
  terminals_.open(kOne);
  EXPECT_EQ(told_.back().path, path);
  EXPECT_EQ(terminals_.count(), 1u);
}

TEST_F(TerminalsTest, EachConsoleHasItsOwn) {
  attach({1, 1}, "one");
  const Fd first = open_terminal(), second = open_terminal({1, 1});
  guest_writes("to the first");
  link_.guest(1, 1).write("to the second");
  server_.on_event(FakeLink::port_of({1, 1}));
  EXPECT_EQ(read_until(first, "to the first"), "to the first");
  EXPECT_EQ(read_until(second, "to the second"), "to the second");
}

TEST_F(TerminalsTest, LastWordsAreReadAfterTheEnd) {
  const Fd terminal = open_terminal();
  guest_writes("hello");
  read_until(terminal, "hello");
  // More than a pty holds.
  const std::string words = std::string(1000, 'w') + "\n";
  for (int i = 0; i < 40; ++i) guest_writes(words);
  guest_writes("panic");
  server_.detach(kOne);
  for (int turns = 0; turns < 20; ++turns) ASSERT_TRUE(loop_.run_once(1));
  EXPECT_FALSE(was_told(ConsoleReplyKind::kTerminalClosed)) << "its name is there while they are read";
  EXPECT_EQ(read_until(terminal, "panic").size(), 40 * words.size() + 5);
  EXPECT_TRUE(run_until([&] { return was_told(ConsoleReplyKind::kTerminalClosed); }));
  EXPECT_TRUE(run_until([&] { return terminals_.count() == 0; }));
}

TEST_F(TerminalsTest, WhoDoesNotReadTheLastWordsHoldsNothingUpForLong) {
  const Fd terminal = open_terminal();
  guest_writes("hello");
  read_until(terminal, "hello");
  guest_writes("panic");
  server_.detach(kOne);
  attach(kOne, "one");
  Fd next = open_terminal();
  EXPECT_TRUE(run_until([&] { return terminals_.count() == 1; }));
  EXPECT_FALSE(was_told(ConsoleReplyKind::kTerminalClosed)) << "of the next one it were";
}

TEST_F(TerminalsTest, ConsoleThatIsNotThereHasNone) {
  terminals_.open({9, 0});
  EXPECT_EQ(told_.back().error, ENOENT);
  EXPECT_EQ(told_.back().path[0], '\0');
}

}  // namespace
}  // namespace xenopolis::console
