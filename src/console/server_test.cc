#include "console/server.h"

#include <gtest/gtest.h>

#include "console/fake_guest.h"

namespace xenopolis::console {
namespace {

class ServerTest : public testing::Test {
 protected:
  void attach(DomId domid, const std::string& name) { ASSERT_TRUE(server_.attach(domid, 0, 1, name)); }
  void write(DomId domid, std::string_view text) {
    link_.guests[domid].write(text);
    server_.on_event(port_of(domid));
  }
  void settle() {
    for (int turns = 0; server_.has_work(); ++turns) {
      ASSERT_LT(turns, 1000);
      server_.run_turns();
    }
  }
  static Port port_of(DomId domid) { return FakeLink::kFirstPort + domid; }

  TemporaryDirectory directory_;
  ManualClock clock_;
  FakeLink link_;
  LogFiles logs_ = LogFiles::open(directory_.path(), clock_).value();
  Server server_{link_, logs_};
};

TEST_F(ServerTest, OutputGoesToTheLogOfItsDomain) {
  attach(1, "one");
  attach(2, "two");
  write(1, "from 1\n");
  write(2, "from 2\n");
  settle();
  EXPECT_EQ(directory_.log_of("one"), "from 1\n");
  EXPECT_EQ(directory_.log_of("two"), "from 2\n");
}

TEST_F(ServerTest, WhatWasWrittenBeforeTheAttachmentIsTakenWithoutAnEvent) {
  link_.guests[1].write("early\n");
  attach(1, "one");
  settle();
  EXPECT_EQ(directory_.log_of("one"), "early\n");
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
  link_.guests[7].write("unannounced\n");
  write(500, "announced\n");
  settle();
  EXPECT_EQ(directory_.log_of("guest-7"), "");
  EXPECT_EQ(directory_.log_of("guest-500"), "announced\n");
}

TEST_F(ServerTest, StormOfOneLetsTheOthersHaveTheirTurn) {
  attach(1, "storm");
  attach(2, "quiet");
  settle();
  // Domain 1 fills its ring again as soon as it is told of room, for ever.
  link_.on_notify = [&](DomId domid) {
    if (domid == 1) write(1, std::string(2048, 's'));
  };
  write(1, std::string(2048, 's'));
  write(2, "still heard\n");
  server_.run_turns();
  EXPECT_EQ(directory_.log_of("quiet"), "still heard\n");
  EXPECT_TRUE(server_.has_work());
  EXPECT_LE(directory_.log_of("storm").size(), Server::kTurnBytes);
}

TEST_F(ServerTest, HostileIndicesHurtNobodyElse) {
  attach(1, "hostile");
  attach(2, "honest");
  settle();
  link_.guests[1].page.out_prod += 1'000'000;
  server_.on_event(port_of(1));
  write(2, "fine\n");
  settle();
  EXPECT_EQ(directory_.log_of("hostile"), "");
  EXPECT_EQ(directory_.log_of("honest"), "fine\n");
  write(1, "behaves again\n");
  settle();
  EXPECT_EQ(directory_.log_of("hostile"), "behaves again\n");
}

TEST_F(ServerTest, DetachTakesWhatIsLeftAndLetsGoOfTheChannel) {
  attach(1, "one");
  settle();
  link_.guests[1].write("last words\n");
  server_.detach(1);
  EXPECT_EQ(directory_.log_of("one"), "last words\n");
  EXPECT_EQ(link_.detached[port_of(1)], 1);
  EXPECT_EQ(server_.consoles(), 0u);
  EXPECT_EQ(logs_.open_files(), 0u);
  server_.on_event(port_of(1));
  EXPECT_FALSE(server_.has_work());
}

TEST_F(ServerTest, DomidThatComesBackIsANewConsole) {
  attach(1, "old");
  write(1, "old\n");
  server_.detach(1);  // while it is queued
  link_.guests[1] = {};
  attach(1, "new");
  write(1, "new\n");
  settle();
  EXPECT_EQ(directory_.log_of("old"), "old\n");
  EXPECT_EQ(directory_.log_of("new"), "new\n");
}

TEST_F(ServerTest, SecondAttachmentAndBadNamesAndBadPortsAreErrors) {
  attach(1, "one");
  EXPECT_EQ(server_.attach(1, 0, 1, "one").error().code, EEXIST);
  EXPECT_EQ(server_.attach(2, 0, 1, "../../etc/passwd").error().code, EINVAL);
  EXPECT_EQ(server_.attach(2, 0, 1, "").error().code, EINVAL);
  EXPECT_EQ(server_.attach(2, 0, 0, "two").error().code, EINVAL);
  EXPECT_EQ(server_.consoles(), 1u);
  server_.detach(99);
  server_.on_event(4711);
}

TEST_F(ServerTest, EndOfTheServerLetsGoOfEveryChannel) {
  {
    Server server(link_, logs_);
    ASSERT_TRUE(server.attach(5, 0, 1, "five"));
    link_.guests[5].write("end");
  }
  EXPECT_EQ(link_.detached[port_of(5)], 1);
  EXPECT_EQ(directory_.log_of("five"), "end");
}

}  // namespace
}  // namespace xenopolis::console
