// A daemon that ends at any point, and the next one that goes on with its journal.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "xenstore/check.h"
#include "xenstore/checkpoint.h"
#include "xenstore/testing/ring_guest.h"

namespace xenopolis::xenstore {
namespace {

class RecoveryTest : public testing::Test {
 protected:
  void SetUp() override { start(); }

  void start() {
    journal_ = Journal::open(Fd(dup(file_.get()))).value();
    server = std::make_unique<Server>(&link);
    ASSERT_TRUE(server->continue_from(*journal_));
    keeper_ = std::make_unique<JournalKeeper>(*server, *journal_);
    dom0 = std::make_unique<TestClient>(*server);
  }
  // The next daemon sees what the last one stored, as after a SIGKILL.
  void restart() {
    dom0.reset();
    keeper_.reset();
    server.reset();
    journal_.reset();
    start();
    EXPECT_EQ(find_faults(*server), std::vector<std::string>());
  }
  void checkpoint() {
    Checkpoint taken(*server, *journal_);
    while (taken.step()) {
    }
  }
  // Everything that must survive.
  std::string state() const {
    std::string text;
    TreeWalk walk(server->store().committed());
    while (const Node* node = walk.next()) {
      text.append(walk.path()).append("=").append(node->value).append(" ");
      append_perms(text, *node->perms, server->store().released());
      text.append("\n");
    }
    for (DomId domid = 0; domid < 20; ++domid) {
      text += fmt::format("{} owns {}", domid, server->store().nodes_owned_by(domid));
      const auto domain = server->domains().find(domid);
      if (domain != server->domains().end()) {
        const Connection& connection = domain->second.transport->connection();
        std::vector<std::string> watches;
        connection.for_each_watch([&](const Watch& watch) {
          watches.push_back(fmt::format("{} {} {} {}", watch.path, watch.token, watch.relative_bytes, watch.depth));
        });
        std::sort(watches.begin(), watches.end());
        text +=
            fmt::format(" {} {} target {} shut down {}: {}", domain->second.gfn, domain->second.port,
                        connection.subject().target.value_or(0), domain->second.is_shut_down, fmt::join(watches, ", "));
      }
      text += "\n";
    }
    return nuls_to_bars(text);
  }

  const Fd file_{memfd_create("journal", MFD_CLOEXEC)};
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<JournalKeeper> keeper_;
  TestLink link;
  std::unique_ptr<Server> server;
  std::unique_ptr<TestClient> dom0;
};

TEST_F(RecoveryTest, EveryKindOfChangeSurvives) {
  EXPECT_EQ(dom0->ask(XS_WRITE, "/a/b/c|value"), "OK|");
  EXPECT_EQ(dom0->ask(XS_WRITE, "/a/gone|value"), "OK|");
  EXPECT_EQ(dom0->ask(XS_RM, "/a/gone|"), "OK|");
  EXPECT_EQ(dom0->ask(XS_MKDIR, "/local/domain/5|"), "OK|");
  EXPECT_EQ(dom0->ask(XS_SET_PERMS, "/local/domain/5|n5|r6|"), "OK|");
  RingGuest guest(*server, link, *dom0, 5);
  RingGuest other(*server, link, *dom0, 6);
  RingGuest third(*server, link, *dom0, 7);
  EXPECT_EQ(guest.ask(XS_WRITE, "mine|x"), "OK|");
  EXPECT_EQ(guest.ask(XS_WATCH, "mine|token|"), "OK|");
  EXPECT_EQ(guest.ask(XS_WATCH, "/a|token|2|"), "OK|");
  EXPECT_EQ(guest.ask(XS_WATCH, "gone|token|"), "OK|");
  EXPECT_EQ(guest.ask(XS_UNWATCH, "gone|token|"), "OK|");
  EXPECT_EQ(third.ask(XS_WATCH, "gone|token|"), "OK|");
  EXPECT_EQ(third.ask(XS_RESET_WATCHES, "|"), "OK|");
  EXPECT_EQ(dom0->ask(XS_SET_TARGET, "6|5|"), "OK|");
  EXPECT_EQ(other.ask(XS_WRITE, "/local/domain/5/by-target|y"), "OK|");
  const uint32_t transaction = dom0->begin();
  EXPECT_EQ(dom0->ask(XS_WRITE, "/in/transaction|t", transaction), "OK|");
  EXPECT_EQ(dom0->ask(XS_SET_PERMS, "/in|b5|", transaction), "OK|");
  EXPECT_EQ(dom0->commit(transaction), "OK|");
  EXPECT_EQ(dom0->ask(XS_SET_PERMS, "@releaseDomain|r5|"), "OK|");
  EXPECT_EQ(dom0->ask(kXsSetQuota, "5|nodes|77|"), "OK|");
  EXPECT_EQ(dom0->ask(kXsSetQuota, "watches|99|"), "OK|");
  EXPECT_EQ(dom0->ask(XS_CONTROL, "quota|set|transactions|3|").substr(0, 2), "OK");
  EXPECT_EQ(dom0->ask(kXsSetFeature, "9|1|"), "OK|");
  EXPECT_TRUE(server->shut_down(7));
  const std::string before = state();
  for (const bool with_checkpoint : {false, true}) {
    if (with_checkpoint) checkpoint();
    restart();
    EXPECT_EQ(state(), before);
    EXPECT_EQ(dom0->ask(XS_GET_PERMS, "@releaseDomain|"), "r5|");
    EXPECT_EQ(dom0->ask(kXsGetQuota, "5|nodes|"), "77|");
    EXPECT_EQ(dom0->ask(kXsGetQuota, "watches|"), "99|");
    EXPECT_EQ(dom0->ask(kXsGetQuota, "transactions|"), "3|");
    EXPECT_EQ(dom0->ask(kXsGetFeature, "9|"), "1|");
  }
}

TEST_F(RecoveryTest, WhatWasRefusedIsNotKept) {
  dom0->ask(XS_MKDIR, "/local/domain/5|");
  RingGuest guest(*server, link, *dom0, 5);
  const uint64_t length = journal_->length();
  EXPECT_EQ(guest.ask(XS_WRITE, "/forbidden|x"), "EACCES");
  EXPECT_EQ(guest.ask(XS_RM, "/nothing/here|"), "EACCES");
  EXPECT_EQ(dom0->ask(XS_RELEASE, "12|"), "ENOENT");
  EXPECT_EQ(guest.ask(XS_READ, "/local/domain/5|"), "EACCES");
  EXPECT_EQ(journal_->length(), length);
}

TEST_F(RecoveryTest, RightsOfADeadDomainStayVoid) {
  ASSERT_EQ(dom0->ask(XS_WRITE, "/shared|x"), "OK|");
  ASSERT_EQ(dom0->ask(XS_SET_PERMS, "/shared|n0|b5|"), "OK|");
  { RingGuest guest(*server, link, *dom0, 5); }
  ASSERT_EQ(dom0->ask(XS_RELEASE, "5|"), "OK|");
  for (const bool with_checkpoint : {false, true}) {
    if (with_checkpoint) checkpoint();
    restart();
    EXPECT_EQ(dom0->ask(XS_GET_PERMS, "/shared|"), "n0|");
    RingGuest next(*server, link, *dom0, 5);
    EXPECT_EQ(next.ask(XS_READ, "/shared|"), "EACCES");
    ASSERT_EQ(dom0->ask(XS_RELEASE, "5|"), "OK|");
  }
}

TEST_F(RecoveryTest, AnOpenTransactionGoesOnAndEndsWithEAGAIN) {
  dom0->ask(XS_MKDIR, "/local/domain/5|");
  dom0->ask(XS_SET_PERMS, "/local/domain/5|n5|");
  { RingGuest introduced(*server, link, *dom0, 5); }
  for (const bool with_checkpoint : {false, true}) {
    RingGuest guest(*server, link, 5);
    const uint32_t lost = guest.begin();
    EXPECT_EQ(guest.ask(XS_WRITE, "key|lost", lost), "OK|");
    if (with_checkpoint) checkpoint();
    restart();
    RingGuest again(*server, link, 5);
    EXPECT_EQ(again.ask(XS_WRITE, "other|lost", lost), "OK|");
    EXPECT_EQ(again.ask(XS_TRANSACTION_END, "T|", lost), "EAGAIN");
    EXPECT_EQ(again.ask(XS_READ, "key|"), "ENOENT");
    EXPECT_EQ(again.ask(XS_TRANSACTION_END, "T|", lost), "ENOENT");
  }
}

TEST_F(RecoveryTest, ATransactionThatWasRefusedHasEnded) {
  dom0->ask(XS_WRITE, "/counter|0");
  dom0->ask(XS_SET_PERMS, "/counter|b0|");
  { RingGuest introduced(*server, link, *dom0, 5); }
  RingGuest guest(*server, link, 5);
  const uint32_t refused = guest.begin();
  EXPECT_EQ(guest.ask(XS_READ, "/counter|", refused), "0");
  EXPECT_EQ(guest.ask(XS_WRITE, "/counter|1", refused), "OK|");
  EXPECT_EQ(dom0->ask(XS_WRITE, "/counter|7"), "OK|");
  EXPECT_EQ(guest.commit(refused), "EAGAIN");
  restart();
  EXPECT_EQ(server->domains().at(5).transport->connection().transaction_count(), 0u);
  RingGuest again(*server, link, 5);
  EXPECT_EQ(again.commit(refused), "ENOENT");
}

TEST_F(RecoveryTest, WhatATransactionWasRefusedIsNotDoneByTheNextDaemon) {
  { RingGuest introduced(*server, link, *dom0, 5); }
  RingGuest guest(*server, link, 5);
  dom0->ask(XS_WRITE, "/counter|0");
  dom0->ask(XS_SET_PERMS, "/counter|b0|");
  const uint32_t transaction = guest.begin();
  EXPECT_EQ(guest.ask(XS_WRITE, "/forbidden|x", transaction), "EACCES");
  EXPECT_EQ(guest.ask(XS_SET_PERMS, "/counter|b5|", transaction), "EACCES");
  EXPECT_EQ(guest.ask(XS_WRITE, "/counter|1", transaction), "OK|");
  EXPECT_EQ(guest.commit(transaction), "OK|");
  restart();
  EXPECT_EQ(dom0->ask(XS_READ, "/forbidden|"), "ENOENT");
  EXPECT_EQ(dom0->ask(XS_READ, "/counter|"), "1");
  EXPECT_EQ(dom0->ask(XS_GET_PERMS, "/counter|"), "b0|");
}

// As the last daemon may have died between showing a reply and saying so.
TEST_F(RecoveryTest, TheNextDaemonNotifiesEveryGuest) {
  { RingGuest introduced(*server, link, *dom0, 5); }
  const unsigned before = link.guests[5].notifications;
  restart();
  EXPECT_GT(link.guests[5].notifications, before);
}

TEST_F(RecoveryTest, AnIntroductionSaidTwiceChangesNothing) {
  dom0->ask(XS_WRITE, "/key|value");
  dom0->ask(XS_SET_PERMS, "/key|r0|");
  { RingGuest introduced(*server, link, *dom0, 5); }
  RingGuest guest(*server, link, 5);
  const std::string request = message_bytes(XS_READ, bars_to_nuls("/key|"));
  guest.put(std::string_view(request).substr(0, 18));
  guest.notify();
  run_until_quiet(*server);
  EXPECT_EQ(guest.page().req_cons, 18u);
  EXPECT_EQ(dom0->ask(XS_INTRODUCE, "5|1|2|"), "OK|");
  restart();
  RingGuest again(*server, link, 5);
  again.put(std::string_view(request).substr(18));
  again.notify();
  run_until_quiet(*server);
  const auto heard = again.take();
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0].payload, "value");
}

// A new page counts from the moment when the journal knows it, and the guest hears nothing before.
TEST_F(RecoveryTest, ARingThatWasToStartAnewIsStartedByTheNextDaemon) {
  { RingGuest introduced(*server, link, *dom0, 5); }
  RingGuest guest(*server, link, 5);
  EXPECT_EQ(guest.ask(XS_READ, "/|"), "EACCES");
  guest.page().connection = XENSTORE_RECONNECT;
  guest.page().req_prod = 12345;  // as it was before
  restart();
  EXPECT_EQ(guest.page().connection, uint32_t{XENSTORE_CONNECTED});
  RingGuest again(*server, link, 5);
  EXPECT_EQ(again.ask(XS_READ, "/|"), "EACCES");
}

TEST_F(RecoveryTest, SettingsMayChangeDuringACheckpoint) {
  for (int i = 0; i < 1500; ++i) dom0->ask(XS_WRITE, fmt::format("/tree/{}/leaf|{}", i, i));
  Checkpoint taken(*server, *journal_);
  ASSERT_TRUE(taken.step());
  ASSERT_TRUE(taken.step());
  EXPECT_EQ(dom0->ask(kXsSetQuota, "nodes|7|"), "OK|");
  EXPECT_EQ(dom0->ask(kXsSetFeature, "5|1|"), "OK|");
  { RingGuest introduced(*server, link, *dom0, 5); }
  EXPECT_EQ(dom0->ask(kXsSetQuota, "nodes|8|"), "OK|");
  while (taken.step()) {
  }
  restart();
  EXPECT_EQ(dom0->ask(kXsGetFeature, "5|"), "1|");
  EXPECT_EQ(dom0->ask(kXsGetQuota, "5|nodes|"), "7|");
  EXPECT_EQ(dom0->ask(kXsGetQuota, "nodes|"), "8|");
}

// Whatever changes between two steps of a checkpoint.
TEST_F(RecoveryTest, ACheckpointIsTakenWhileTheStoreChanges) {
  for (int i = 0; i < 1500; ++i) dom0->ask(XS_WRITE, fmt::format("/tree/{}/leaf|{}", i, i));
  std::map<DomId, std::unique_ptr<RingGuest>> guests;
  const auto introduce = [&](DomId domid) {
    dom0->ask(XS_MKDIR, fmt::format("/local/domain/{}|", domid));
    dom0->ask(XS_SET_PERMS, fmt::format("/local/domain/{}|n{}|", domid, domid));
    guests[domid] = std::make_unique<RingGuest>(*server, link, *dom0, domid);
    EXPECT_EQ(guests[domid]->ask(XS_WATCH, "key|token|"), "OK|");
  };
  for (DomId domid = 1; domid < 12; ++domid) introduce(domid);
  for (unsigned when = 0; when < 12; ++when) {
    SCOPED_TRACE(when);
    Checkpoint taken(*server, *journal_);
    unsigned steps = 0;
    for (bool more = true; more; ++steps) {
      if (steps == when) {
        dom0->ask(XS_RM, fmt::format("/tree/{}|", when));
        dom0->ask(XS_WRITE, fmt::format("/tree/{}/new|x", 100 + when));
        guests[1]->ask(XS_WRITE, "key|changed");
        guests[2]->ask(XS_RESET_WATCHES, "|");
        guests[2]->ask(XS_WATCH, fmt::format("key|token{}|", when));
        // Gone, and another of the same number.
        dom0->ask(XS_SET_PERMS, "/tree/7|n0|b3|");
        guests[3]->ask(XS_WRITE, fmt::format("/tree/7|by 3, {}", when));
        dom0->ask(XS_RELEASE, "3|");
        if (when % 2 == 0) introduce(3);
        if (when % 2 == 1) introduce(3);
        if (when % 2 == 0) dom0->ask(XS_RELEASE, "4|");
        if (when % 2 == 1) introduce(4);
      }
      more = taken.step();
    }
    const std::string before = state();
    restart();
    ASSERT_TRUE(state() == before);
    for (auto& [domid, guest] : guests) guest = std::make_unique<RingGuest>(*server, link, domid);
  }
}

TEST_F(RecoveryTest, TheJournalStaysShortHoweverMuchIsWritten) {
  const std::string value(4000, 'v');
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_EQ(dom0->ask(XS_WRITE, fmt::format("/key{}|{}", i % 10, value)), "OK|");
    keeper_->work();
  }
  EXPECT_LT(journal_->length(), 16u << 20);
  const std::string before = state();
  restart();
  EXPECT_TRUE(state() == before);
}

// On a file system of 4 MiB.
void fill_a_disk(const char* directory) {
  if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) _exit(77);
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) _exit(77);
  if (mount("none", directory, "tmpfs", 0, "size=4m") != 0) _exit(77);
  const auto open_journal = [&] {
    return Journal::open(Fd(open(fmt::format("{}/journal", directory).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)))
        .value();
  };
  const std::string value(4000, 'v');
  std::string last, missing;
  {
    const auto journal = open_journal();
    Server server;
    if (!server.continue_from(*journal)) _exit(1);
    TestClient dom0(server);
    unsigned written = 0;
    while (dom0.ask(XS_WRITE, fmt::format("/key{}|{}", written, value)) == "OK|") ++written;
    const std::string refused = dom0.ask(XS_WRITE, fmt::format("/key{}|{}", written, value));
    if (refused != "ENOSPC" || written < 100 || dom0.ask(XS_READ, "/key1|") != value) _exit(2);
    last = fmt::format("/key{}|", written - 1);
    missing = fmt::format("/key{}|", written);
    if (dom0.ask(XS_READ, missing) != "ENOENT") _exit(3);
  }
  const auto journal = open_journal();
  Server server;
  if (!server.continue_from(*journal)) _exit(4);
  TestClient dom0(server);
  if (dom0.ask(XS_READ, last) != value || dom0.ask(XS_READ, missing) != "ENOENT") _exit(5);
  _exit(0);
}

TEST(JournalDiskTest, AFullDiskRefusesChangesWithENOSPCAndLosesNothing) {
  char directory[] = "/tmp/polis-full-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  const pid_t child = fork();
  if (child == 0) fill_a_disk(directory);
  int status = 0;
  const pid_t ended = waitpid(child, &status, 0);
  rmdir(directory);
  ASSERT_EQ(ended, child);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "may not mount a file system";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace xenopolis::xenstore
