#include "console/server.h"

#include <gtest/gtest.h>

#include "console/testing/fake_guest.h"
#include "console/testing/memory_file.h"
#include "console/testing/recorder.h"

namespace xenopolis::console {
namespace {

class ServerTest : public testing::Test {
 protected:
  ServerTest() { server_.add_viewer(recorder_); }
  void attach(DomId domid, const std::string& name) {
    ASSERT_TRUE(server_.attach(FakeLink::request({domid, 0}, name, ++incarnation_)));
  }
  void write(DomId domid, std::string_view text) {
    link_.guest(domid).write(text);
    server_.on_event(port_of(domid));
  }
  void settle() {
    for (int turns = 0; server_.has_work(); ++turns) {
      ASSERT_LT(turns, 1000);
      server_.run_turns();
    }
  }
  static Port port_of(DomId domid) { return FakeLink::port_of({domid, 0}); }

  ManualClock clock_, calendar_;
  FakeLink link_;
  std::unique_ptr<History> history_ = History::open(memory_file()).value();
  Recorder recorder_;
  Server server_{link_, *history_, clock_, calendar_};
  uint64_t incarnation_ = 0;
};

TEST_F(ServerTest, OutputGoesIntoTheStreamOfItsConsole) {
  attach(1, "one");
  attach(2, "two");
  write(1, "from 1\n");
  write(2, "from 2\n");
  settle();
  EXPECT_EQ(recorder_.said["one"], "from 1\n");
  EXPECT_EQ(recorder_.said["two"], "from 2\n");
}

TEST_F(ServerTest, WhatWasWrittenBeforeTheAttachmentIsTakenWithoutAnEvent) {
  link_.guest(1).write("early\n");
  attach(1, "one");
  settle();
  EXPECT_EQ(recorder_.said["one"], "early\n");
}

TEST_F(ServerTest, GuestIsToldOnceThatThereIsRoomAndOnlyIfSomethingWasTaken) {
  attach(1, "one");
  settle();
  server_.on_event(port_of(1));
  settle();
  EXPECT_EQ(link_.notified[port_of(1)], 0);
  write(1, "line\n");
  write(1, "line\n");
  settle();
  EXPECT_EQ(link_.notified[port_of(1)], 1);
}

TEST_F(ServerTest, SilentConsolesHaveNoTurns) {
  for (DomId domid = 1; domid <= 1000; ++domid) attach(domid, "guest-" + std::to_string(domid));
  settle();
  link_.guest(7).write("unannounced\n");
  write(500, "announced\n");
  settle();
  EXPECT_EQ(recorder_.said["guest-7"], "");
  EXPECT_EQ(recorder_.said["guest-500"], "announced\n");
}

TEST_F(ServerTest, StormOfOneLetsTheOthersHaveTheirTurn) {
  attach(1, "storm");
  attach(2, "quiet");
  settle();
  // Domain 1 fills its ring again as soon as it is told of room, for ever.
  link_.on_notify = [&](ConsoleId console) {
    if (console.domid == 1) write(1, std::string(2048, 's'));
  };
  write(1, std::string(2048, 's'));
  write(2, "still heard\n");
  server_.run_turns();
  EXPECT_EQ(recorder_.said["quiet"], "still heard\n");
  EXPECT_TRUE(server_.has_work());
  EXPECT_LE(recorder_.said["storm"].size(), Server::kTurnBytes);
}

TEST_F(ServerTest, HostileIndicesHurtNobodyElse) {
  attach(1, "hostile");
  attach(2, "honest");
  settle();
  link_.guest(1).page.out_prod += 1'000'000;
  server_.on_event(port_of(1));
  write(2, "fine\n");
  settle();
  EXPECT_EQ(recorder_.said["hostile"], "");
  EXPECT_EQ(recorder_.said["honest"], "fine\n");
  write(1, "behaves again\n");
  settle();
  EXPECT_EQ(recorder_.said["hostile"], "behaves again\n");
}

TEST_F(ServerTest, DetachTakesWhatIsLeftAndLetsGoOfTheChannel) {
  attach(1, "one");
  settle();
  link_.guest(1).write("last words\n");
  server_.detach({1, 0});
  EXPECT_EQ(recorder_.said["one"], "last words\n");
  EXPECT_EQ(link_.detached[port_of(1)], 1);
  EXPECT_EQ(server_.consoles(), 0u);
  EXPECT_EQ(recorder_.ends, 1);
  EXPECT_EQ(history_->bytes_held(), 0u);
  server_.on_event(port_of(1));
  EXPECT_FALSE(server_.has_work());
}

TEST_F(ServerTest, DomidThatComesBackIsANewConsole) {
  attach(1, "old");
  write(1, "old\n");
  server_.detach({1, 0});  // while it is queued
  link_.guest(1).page = {};
  attach(1, "new");
  write(1, "new\n");
  settle();
  EXPECT_EQ(recorder_.said["old"], "old\n");
  EXPECT_EQ(recorder_.said["new"], "new\n");
}

TEST_F(ServerTest, ANewPolisdMayAskForWhatTheOneBeforeItHasAskedFor) {
  attach(1, "one");
  write(1, "said\n");
  settle();
  EXPECT_TRUE(server_.attach(FakeLink::request({1, 0}, "one")));
  settle();
  EXPECT_EQ(recorder_.said["one"], "said\n") << "once";
}

TEST_F(ServerTest, SecondAttachmentAndBadNamesAndBadPortsAreErrors) {
  attach(1, "one");
  EXPECT_EQ(server_.attach(FakeLink::request({1, 0}, "one", 2)).error().code, EEXIST);
  EXPECT_EQ(server_.attach(FakeLink::request({2, 0}, "../../etc/passwd")).error().code, EINVAL);
  EXPECT_EQ(server_.attach(FakeLink::request({2, 0}, "")).error().code, EINVAL);
  ConsoleRequest bad_port = FakeLink::request({2, 0}, "two");
  bad_port.remote_port = 0;
  EXPECT_EQ(server_.attach(bad_port).error().code, EINVAL);
  EXPECT_EQ(server_.consoles(), 1u);
}

TEST_F(ServerTest, AConsoleIsFoundByItsNumberAndByTheNameOfItsDomain) {
  attach(1, "one");
  ASSERT_TRUE(server_.attach(FakeLink::request({1, 2}, "one")));
  EXPECT_EQ(server_.find("one", 0), server_.find({1, 0}));
  EXPECT_EQ(server_.find("one", 2), server_.find({1, 2}));
  EXPECT_EQ(server_.find("one", 1), nullptr);
  EXPECT_EQ(server_.find("two", 0), nullptr);
  server_.detach({1, 0});
  EXPECT_EQ(server_.find("one", 0), nullptr);
  EXPECT_NE(server_.find({1, 2}), nullptr);
}

TEST_F(ServerTest, InputWaitsUntilTheGuestHasMadeRoom) {
  attach(1, "one");
  Console& console = *server_.find({1, 0});
  const std::string input(kInputBytes + 5, 'i');
  EXPECT_EQ(console.write(input, recorder_), kInputBytes);
  EXPECT_EQ(link_.notified[port_of(1)], 1);
  server_.on_event(port_of(1));
  EXPECT_EQ(recorder_.rooms, 0);
  EXPECT_EQ(link_.guest(1).read(100), std::string(100, 'i'));
  server_.on_event(port_of(1));
  server_.on_event(port_of(1));
  EXPECT_EQ(recorder_.rooms, 1);
  EXPECT_EQ(console.write("rest", recorder_), 4u);
}

TEST_F(ServerTest, AConsoleWithCreditIsServedBeforeHundredsOfStorms) {
  constexpr DomId kStorms = 500, kQuiet = 501;
  for (DomId domid = 1; domid <= kStorms; ++domid) attach(domid, "storm-" + std::to_string(domid));
  attach(kQuiet, "quiet");
  const std::string ring(kOutputBytes, 's');
  link_.on_notify = [&](ConsoleId console) {
    if (console.domid <= kStorms) write(console.domid, ring);
  };
  for (DomId domid = 1; domid <= kStorms; ++domid) write(domid, ring);
  for (int i = 0; i < 100'000 && recorder_.said["storm-1"].size() < 3 * Server::kCredit; ++i) server_.run_turns();
  for (int i = 0; i < 10; ++i) {
    const uint64_t before = server_.bytes_taken();
    write(kQuiet, "x");
    server_.run_turns();
    EXPECT_EQ(recorder_.said["quiet"].size(), static_cast<size_t>(i + 1));
    EXPECT_LE(server_.bytes_taken() - before, Server::kStormBytes + Server::kTurnBytes + kOutputBytes);
  }
}

TEST_F(ServerTest, CreditComesBackWithTime) {
  attach(1, "storm");
  attach(2, "other");
  bool is_storming = true;
  link_.on_notify = [&](ConsoleId) {
    if (is_storming) write(1, std::string(kOutputBytes, 's'));
  };
  write(1, "s");
  for (int i = 0; i < 1'000; ++i) server_.run_turns();
  is_storming = false;
  settle();
  clock_.advance_ns(Server::kCredit * Server::kNsPerCreditedByte);
  // Storms come last in a turn; with credit it is the first, as it was queued first.
  write(1, "first");
  write(2, "second");
  server_.run_turns();
  EXPECT_FALSE(server_.has_work());
}

TEST_F(ServerTest, ASuccessorTakesWhatIsLeftInTheRingAndNothingTwice) {
  attach(1, "one");
  write(1, "taken ");
  settle();
  link_.guest(1).write("left");
  Fd file = memory_file();
  auto history = History::open(same_file(file)).value();
  Recorder recorder;
  {
    Server first(link_, *history, clock_, calendar_);
    link_.guest(2).write("one two ");
    ASSERT_TRUE(first.attach(FakeLink::request({2, 0}, "two", 9)));
    first.run_turns();
  }
  link_.guest(2).write("three");
  link_.guest(2).page.out_cons = 0;  // as if the first had died before it freed what it had taken
  history.reset();
  history = History::open(same_file(file)).value();
  Server second(link_, *history, clock_, calendar_);
  second.add_viewer(recorder);
  ASSERT_TRUE(second.attach(FakeLink::request({2, 0}, "two", 9)));
  second.run_turns();
  EXPECT_EQ(recorder.said["two"], "one two three");
}

}  // namespace
}  // namespace xenopolis::console
