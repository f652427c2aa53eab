// The daemon is killed at every fault point, and so are those that take over from it: in a process of its own each
// time, with rings and journal in shared memory.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <set>

#include "base/fault_point.h"
#include "xenstore/checkpoint.h"
#include "xenstore/testing/ring_guest.h"

namespace xenopolis::xenstore {
namespace {

constexpr DomId kGuest = 5, kOther = 6;

// What the daemon's processes and the test share.
struct Shared {
  xenstore_domain_interface pages[2][16];  // by gfn and domid
  std::atomic<uint32_t> notified[16];
  char dom0_reply[64];
  uint32_t passed;  // fault points
  char last[64];    // the one where it died
};

class SharedLink final : public DomainLink {
 public:
  explicit SharedLink(Shared& shared) : shared_(shared) {}
  XsResult<AttachedRing> attach(DomId domid, Gfn gfn, Port) override {
    return AttachedRing{&shared_.pages[gfn][domid], std::make_unique<SharedPort>(shared_.notified[domid])};
  }

 private:
  class SharedPort final : public RingPort {
   public:
    explicit SharedPort(std::atomic<uint32_t>& notified) : notified_(notified) {}
    void notify() override { ++notified_; }

   private:
    std::atomic<uint32_t>& notified_;
  };
  Shared& shared_;
};

Shared* shared = nullptr;
unsigned passes_left = 0;

struct Dom0Request {
  uint32_t type = 0;
  std::string payload;
};

// The guest's side.
struct Guest {
  DomId domid = 0;
  Gfn gfn = 0;
  MessageReader reader;
  std::vector<std::string> replies = {}, events = {};
  std::string output = {};

  xenstore_domain_interface& page() { return shared->pages[gfn][domid]; }
  void say(uint32_t type, const std::string& payload, uint32_t transaction = 0) {
    output += message_bytes(type, bars_to_nuls(payload), transaction);
  }
  void put() {
    xenstore_domain_interface& to = page();
    while (!output.empty() && to.req_prod - to.req_cons < XENSTORE_RING_SIZE) {
      to.req[MASK_XENSTORE_IDX(to.req_prod)] = output.front();
      ++to.req_prod;
      output.erase(0, 1);
    }
  }
  // Only if it has been told to look.
  bool take() {
    if (shared->notified[domid].exchange(0) == 0) return false;
    xenstore_domain_interface& from = page();
    std::string bytes;
    for (; from.rsp_cons != from.rsp_prod; ++from.rsp_cons) {
      bytes.push_back(from.rsp[MASK_XENSTORE_IDX(from.rsp_cons)]);
    }
    reader.append(bytes);
    Header header;
    std::string_view payload;
    while (reader.next(header, payload) == MessageReader::Next::kMessage) {
      std::string text = nuls_to_bars(std::string(payload));
      (header.type == XS_WATCH_EVENT ? events : replies).push_back(std::move(text));
    }
    return true;
  }
};

class RecoveryFaultTest : public testing::Test {
 protected:
  static constexpr unsigned kNever = ~0u;

  RecoveryFaultTest() {
    shared =
        static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  }
  ~RecoveryFaultTest() override { munmap(shared, sizeof(Shared)); }

  void SetUp() override {
    run(kNever, {XS_WRITE, "/counter|0"});
    run(kNever, {XS_SET_PERMS, "/counter|b0|"});
    for (const DomId domid : {kGuest, kOther}) {
      run(kNever, {XS_MKDIR, fmt::format("/local/domain/{}|", domid)});
      run(kNever, {XS_SET_PERMS, fmt::format("/local/domain/{}|n{}|", domid, domid)});
      run(kNever, {XS_INTRODUCE, fmt::format("{}|0|2|", domid)});
    }
  }

  // A daemon: takes over, asks itself what Dom0 wants, serves until there is nothing to do, and dies: at the `nth`
  // fault point that it passes, if there are so many. True: it was so.
  bool run(unsigned nth, const Dom0Request& dom0 = {}, bool takes_checkpoint = false) {
    shared->passed = 0;
    shared->dom0_reply[0] = '\0';
    const pid_t child = fork();
    if (child == 0) {
      passes_left = nth;
      fault_hook = [](const char* name) {
        ++shared->passed;
        std::strncpy(shared->last, name, sizeof shared->last - 1);
        if (passes_left != kNever && passes_left-- == 0) raise(SIGKILL);
      };
      serve(dom0, takes_checkpoint);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
      died_at_.insert(shared->last);
      return true;
    }
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the daemon broke: " << status;
    return false;
  }

  void serve(const Dom0Request& request, bool takes_checkpoint) {
    SharedLink link(*shared);
    const auto journal = Journal::open(Fd(dup(journal_.get()))).value();
    Server server(&link);
    if (!server.continue_from(*journal)) _exit(1);
    if (takes_checkpoint) {
      Checkpoint checkpoint(server, *journal);
      while (checkpoint.step()) server.ready().run_once();
    }
    if (!run_until_quiet(server)) _exit(2);
    TestClient dom0(server);
    if (request.type != 0) {
      const std::string reply = dom0.ask(request.type, request.payload);
      std::strncpy(shared->dom0_reply, reply.c_str(), sizeof shared->dom0_reply - 1);
    }
    if (!run_until_quiet(server)) _exit(3);
    if (testing::Test::HasFailure()) _exit(4);
  }

  // Whether the guest hears so many replies when daemons follow each other, none of which is killed too early.
  void finish(Guest& guest, size_t replies, const Dom0Request& dom0 = {}) {
    for (int daemons = 0; daemons < 30; ++daemons) {
      guest.put();
      run(kNever, dom0);
      guest.take();
      if (guest.replies.size() >= replies && guest.output.empty()) return;
    }
  }

  // `ask` makes requests, `check` looks at what came of it; between them daemons die: the first at its `nth` fault
  // point, the second at each of its own, and so on, so that there is progress only in between.
  void at_every_fault(Guest& guest, size_t replies, const std::function<void(unsigned)>& ask,
                      const std::function<void(unsigned)>& check, const Dom0Request& dom0 = {},
                      bool takes_checkpoint = false) {
    for (const unsigned second : {kNever, 0u, 1u, 2u, 5u}) {
      bool dies = true;
      for (unsigned nth = 0; dies; ++nth) {
        ASSERT_LT(nth, 2000u);
        guest.replies.clear();
        guest.events.clear();
        ask(nth);
        guest.put();
        dies = run(nth, dom0, takes_checkpoint);
        SCOPED_TRACE(fmt::format("died at {} ({}), then at {}", nth, shared->last, second));
        if (second != kNever) {
          guest.take();
          guest.put();
          run(second, dom0, takes_checkpoint);
        }
        guest.take();
        finish(guest, replies, dom0);
        ASSERT_EQ(guest.replies.size(), replies);
        check(nth);
        if (HasFailure()) return;
      }
    }
  }

  Fd journal_{memfd_create("journal", MFD_CLOEXEC)};
  Guest guest_{kGuest, 0, {}};
  unsigned reconnects_ = 0;
  std::set<std::string> died_at_;
};

TEST_F(RecoveryFaultTest, EveryRequestIsAnsweredOnceAndLasts) {
  at_every_fault(
      guest_, 3,
      [&](unsigned nth) {
        guest_.say(XS_WRITE, fmt::format("key|{}", nth));
        guest_.say(XS_READ, "key|");
        guest_.say(nth % 2 == 0 ? XS_MKDIR : XS_RM, "child|");
      },
      [&](unsigned nth) {
        EXPECT_EQ(guest_.replies, (std::vector<std::string>{"OK|", fmt::to_string(nth), "OK|"}));
        run(kNever, {XS_READ, "/local/domain/5/child|"});
        EXPECT_STREQ(shared->dom0_reply, nth % 2 == 0 ? "" : "ENOENT");
      });
  for (const char* point :
       {"ring: pulled", "keep: carried out", "journal: batch written", "journal: batch valid", "ring: put",
        "ring: word", "ring: responses shown", "ring: requests shown", "recovery: ring taken over"}) {
    EXPECT_TRUE(died_at_.contains(point)) << point;
  }
}

TEST_F(RecoveryFaultTest, LongMessagesArriveWhole) {
  std::string value;
  at_every_fault(
      guest_, 2,
      [&](unsigned nth) {
        value = std::string(1800, static_cast<char>('a' + nth % 26));
        guest_.say(XS_WRITE, "big|" + value);
        guest_.say(XS_READ, "big|");
      },
      [&](unsigned) {
        EXPECT_EQ(guest_.replies, (std::vector<std::string>{"OK|", value}));
      });
}

TEST_F(RecoveryFaultTest, WatchesAreSetOnceAndHear) {
  at_every_fault(
      guest_, 3,
      [&](unsigned nth) {
        guest_.say(XS_WATCH, fmt::format("key|t{}|", nth));
        guest_.say(XS_WRITE, "key|x");
        guest_.say(XS_UNWATCH, fmt::format("key|t{}|", nth));
      },
      [&](unsigned nth) {
        EXPECT_EQ(guest_.replies, (std::vector<std::string>{"OK|", "OK|", "OK|"}));
        EXPECT_FALSE(guest_.events.empty());
        for (const std::string& event : guest_.events) EXPECT_EQ(event, fmt::format("key|t{}|", nth));
      });
}

TEST_F(RecoveryFaultTest, ATransactionCommitsAsAWholeAndOnce) {
  unsigned committed = 0;
  at_every_fault(
      guest_, 5,
      [&](unsigned) {
        // Numbers begin anew with each daemon; a lost one keeps its own.
        guest_.say(XS_TRANSACTION_START, "|");
        guest_.say(XS_WRITE, fmt::format("/counter|{}", committed + 1), 1);
        guest_.say(XS_WRITE, fmt::format("other|{}", committed + 1), 1);
        guest_.say(XS_WRITE, "/forbidden|x", 1);
        guest_.say(XS_TRANSACTION_END, "T|", 1);
      },
      [&](unsigned) {
        EXPECT_EQ(guest_.replies[0], "1|");
        EXPECT_EQ(guest_.replies[3], "EACCES|");
        if (guest_.replies[4] == "OK|") ++committed;
        EXPECT_TRUE(guest_.replies[4] == "OK|" || guest_.replies[4] == "EAGAIN|") << guest_.replies[4];
        run(kNever, {XS_READ, "/counter|"});
        EXPECT_EQ(shared->dom0_reply, fmt::to_string(committed));
        run(kNever, {XS_READ, "/forbidden|"});
        EXPECT_STREQ(shared->dom0_reply, "ENOENT");
        if (committed == 0) return;
        run(kNever, {XS_READ, "/local/domain/5/other|"});
        EXPECT_EQ(shared->dom0_reply, fmt::to_string(committed));
      });
  EXPECT_GT(committed, 0u);
}

TEST_F(RecoveryFaultTest, ACheckpointLosesNothing) {
  at_every_fault(
      guest_, 2,
      [&](unsigned nth) {
        guest_.say(XS_WRITE, fmt::format("key{}|{}", nth % 7, nth));
        guest_.say(XS_READ, fmt::format("key{}|", nth % 7));
      },
      [&](unsigned nth) {
        EXPECT_EQ(guest_.replies, (std::vector<std::string>{"OK|", fmt::to_string(nth)}));
      },
      {}, true);
  EXPECT_TRUE(died_at_.contains("checkpoint: slice") && died_at_.contains("checkpoint: switched over"));
}

TEST_F(RecoveryFaultTest, AGuestReconnects) {
  at_every_fault(
      guest_, 1,
      [&](unsigned) {
        guest_.output.clear();
        guest_.reader = MessageReader();
        guest_.say(XS_WATCH, "key|token|");
        finish(guest_, 1);
        guest_.replies.clear();
        std::atomic_ref(guest_.page().connection).store(XENSTORE_RECONNECT);
        // Waits as xenstore-ring.txt says.
        for (unsigned nth = reconnects_++; guest_.page().connection != XENSTORE_CONNECTED; nth = kNever) {
          run(nth % 40);
        }
        guest_.reader = MessageReader();
        guest_.events.clear();
        guest_.say(XS_WATCH, "key|token|");  // there are no watches any more
      },
      [&](unsigned) { EXPECT_EQ(guest_.replies[0], "OK|"); });
  EXPECT_TRUE(died_at_.contains("restart: req_prod") && died_at_.contains("restart: connected"));
}

// Dom0's requests are said again by their client, who has heard no answer.
TEST_F(RecoveryFaultTest, DomainsComeAndGo) {
  bool dies = true;
  for (unsigned nth = 0; dies; ++nth) {
    SCOPED_TRACE(nth);
    const auto ask = [&](uint32_t type, const std::string& payload) {
      dies = run(nth, {type, payload});
      if (dies) run(kNever, {type, payload});
      return std::string(shared->dom0_reply);
    };
    Guest other{kOther, static_cast<Gfn>(nth % 2), {}};
    bool has_died = false;
    // The other page, for a domain that is known.
    EXPECT_EQ(ask(XS_INTRODUCE, fmt::format("6|{}|2|", nth % 2)), "OK|");
    has_died |= dies;
    other.say(XS_WRITE, "key|value");
    finish(other, 1);
    ASSERT_EQ(other.replies, (std::vector<std::string>{"OK|"}));
    const std::string released = ask(XS_RELEASE, "6|");
    has_died |= dies;
    EXPECT_TRUE(released == "OK|" || released == "ENOENT") << released;
    run(kNever, {XS_READ, "/local/domain/6|"});
    EXPECT_STREQ(shared->dom0_reply, "ENOENT");
    other.page() = {};
    EXPECT_EQ(ask(XS_MKDIR, "/local/domain/6|"), "OK|");
    EXPECT_EQ(ask(XS_SET_PERMS, "/local/domain/6|n6|"), "OK|");
    EXPECT_EQ(ask(XS_INTRODUCE, fmt::format("6|{}|2|", nth % 2)), "OK|");
    has_died |= dies;
    Guest fresh{kOther, static_cast<Gfn>(nth % 2), {}};
    fresh.say(XS_READ, "key|");
    fresh.say(XS_WRITE, "new|value");
    finish(fresh, 2);
    ASSERT_EQ(fresh.replies, (std::vector<std::string>{"ENOENT|", "OK|"}));
    dies = has_died;
    if (HasFailure()) return;
    run(kNever, {}, true);  // else every daemon would repeat, and pass, more than the one before
  }
  EXPECT_TRUE(died_at_.contains("release: closed") && died_at_.contains("introduce: bound") &&
              died_at_.contains("reattach: to be restarted"));
}

}  // namespace
}  // namespace xenopolis::xenstore
