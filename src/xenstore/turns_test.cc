#include "xenstore/turns.h"

#include <gmock/gmock.h>

#include <random>

#include "xenstore/test_client.h"

namespace xenopolis::xenstore {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::Ge;
using testing::Le;

constexpr DomId kGuestA = 5;
constexpr DomId kGuestB = 6;

class TurnsTest : public testing::Test {
 protected:
  // Lets time pass, and everybody do what can be done then.
  void pass(uint64_t ns) {
    clock.advance_ns(ns);
    server.turns().advance();
    settle();
  }
  void settle() {
    while (!server.ready().empty()) server.ready().run_once();
  }
  // Makes `client` lose a commit at `path`, which `other` changes.
  void lose(TestClient& client, TestClient& other, const std::string& path) {
    const uint32_t transaction = client.begin();
    client.ask(XS_READ, path + "|", transaction);
    ASSERT_EQ(other.ask(XS_WRITE, path + "|lost"), "OK|");
    ASSERT_EQ(client.commit(transaction), "EAGAIN");
  }
  static uint32_t number(const std::optional<std::string>& reply) {
    EXPECT_TRUE(reply.has_value());
    return reply ? static_cast<uint32_t>(std::stoul(*reply)) : 0;
  }
  // Has lost at `path`, and begun again: it has the turn.
  uint32_t take_turn(TestClient& client, TestClient& other, const std::string& path) {
    lose(client, other, path);
    return client.begin();
  }
  void share(const std::string& path) {
    dom0.ask(XS_WRITE, path + "|0");
    dom0.ask(XS_SET_PERMS, path + "|b0|");
  }

  ManualClock clock;
  Server server{nullptr, Quota{}, &clock};
  TestClient dom0{server}, other_dom0{server}, third_dom0{server};
  TestClient guest{server, Subject{kGuestA, {}}}, other_guest{server, Subject{kGuestB, {}}};
};

TEST_F(TurnsTest, WhoeverWasRefusedIsNotRefusedAgain) {
  share("/n");
  const uint32_t first = take_turn(dom0, other_dom0, "/n");
  // Even before it has read anything.
  const uint32_t rival = other_dom0.begin();
  other_dom0.ask(XS_READ, "/n|", rival);
  other_dom0.ask(XS_WRITE, "/n|rival", rival);
  EXPECT_EQ(other_dom0.commit(rival), "EAGAIN");
  EXPECT_EQ(dom0.ask(XS_READ, "/n|", first), "lost");
  dom0.ask(XS_WRITE, "/n|1", first);
  EXPECT_EQ(dom0.commit(first), "OK|");
  EXPECT_EQ(dom0.ask(XS_READ, "/n|"), "1");
}

TEST_F(TurnsTest, AStartWaitsForTheTurnOfAnother) {
  share("/n");
  const uint32_t first = take_turn(dom0, third_dom0, "/n");
  const uint32_t lost = other_dom0.begin();
  other_dom0.ask(XS_WRITE, "/n|x", lost);
  ASSERT_EQ(other_dom0.commit(lost), "EAGAIN");
  other_dom0.say(XS_TRANSACTION_START, "|");
  other_dom0.say(XS_READ, "/n|");  // behind it
  settle();
  EXPECT_EQ(other_dom0.hear(), std::nullopt);
  dom0.ask(XS_WRITE, "/n|1", first);
  EXPECT_EQ(dom0.commit(first), "OK|");
  settle();
  const uint32_t second = number(other_dom0.hear());
  EXPECT_EQ(other_dom0.hear(), "1");
  EXPECT_EQ(other_dom0.ask(XS_READ, "/n|", second), "1");  // a snapshot of now
  other_dom0.ask(XS_WRITE, "/n|2", second);
  EXPECT_EQ(other_dom0.commit(second), "OK|");
  EXPECT_TRUE(server.turns().is_idle());
}

TEST_F(TurnsTest, AClientThatHasHadATurnWaitsForTheNextOneIfSomebodyHasIt) {
  share("/n");
  const uint32_t first = take_turn(dom0, third_dom0, "/n");
  const uint32_t lost = other_dom0.begin();
  other_dom0.ask(XS_WRITE, "/n|x", lost);
  ASSERT_EQ(other_dom0.commit(lost), "EAGAIN");
  other_dom0.say(XS_TRANSACTION_START, "|");
  EXPECT_EQ(dom0.commit(first), "OK|");
  settle();
  const uint32_t second = number(other_dom0.hear());
  dom0.say(XS_TRANSACTION_START, "|");
  settle();
  EXPECT_EQ(dom0.hear(), std::nullopt);
  EXPECT_EQ(other_dom0.commit(second), "OK|");
  settle();
  EXPECT_EQ(dom0.commit(number(dom0.hear())), "OK|");
  // Nobody has a turn there any more: it needs none.
  const uint32_t alone = dom0.begin();
  EXPECT_TRUE(server.turns().is_idle());
  EXPECT_EQ(dom0.commit(alone), "OK|");
}

TEST_F(TurnsTest, SixteenClientsInConflictNeedAtMostTwoTriesEach) {
  share("/counter");
  dom0.ask(XS_WRITE, "/counter|0");
  struct Client {
    explicit Client(Server& server) : connection(server) {}
    TestClient connection;
    uint32_t transaction = 0;
    unsigned step = 0, tries = 0, commits = 0;
    std::vector<unsigned> tries_per_commit;
  };
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 16; ++i) clients.push_back(std::make_unique<Client>(server));
  std::mt19937 random(1);
  unsigned commits = 0;
  while (commits < 2000) {
    Client& client = *clients[random() % clients.size()];
    settle();
    TestClient& connection = client.connection;
    switch (client.step) {
      case 0:
        connection.say(XS_TRANSACTION_START, "|");
        client.step = 1;
        ++client.tries;
        break;
      case 1:
        if (const auto reply = connection.hear()) {
          client.transaction = number(reply);
          const std::string value = connection.ask(XS_READ, "/counter|", client.transaction);
          connection.ask(XS_WRITE, "/counter|" + std::to_string(std::stoul(value) + 1), client.transaction);
          client.step = 2;
        }
        break;
      default:
        if (connection.commit(client.transaction) == "OK|") {
          ++commits;
          ++client.commits;
          client.tries_per_commit.push_back(std::exchange(client.tries, 0));
        }
        client.step = 0;
    }
  }
  EXPECT_EQ(dom0.ask(XS_READ, "/counter|"), std::to_string(commits));
  for (const auto& client : clients) {
    EXPECT_THAT(client->tries_per_commit, Each(AllOf(Ge(1u), Le(2u))));
    EXPECT_GT(client->commits, 60u);
  }
}

TEST_F(TurnsTest, WhoeverDoesNotComeBackHoldsNothingUp) {
  share("/n");
  lose(dom0, other_dom0, "/n");
  EXPECT_TRUE(server.turns().is_idle());
  EXPECT_EQ(other_dom0.ask(XS_WRITE, "/n|1"), "OK|");
  const uint32_t transaction = other_dom0.begin();
  other_dom0.ask(XS_WRITE, "/n|2", transaction);
  EXPECT_EQ(other_dom0.commit(transaction), "OK|");
}

TEST_F(TurnsTest, ATurnEndsWithItsTransactionOrItsClientOrItsTime) {
  share("/n");
  const auto waiter_gets_its_turn = [&] {
    settle();
    const auto reply = other_dom0.hear();
    if (!reply) return false;
    EXPECT_EQ(other_dom0.ask(XS_TRANSACTION_END, "F|", number(reply)), "OK|");
    settle();
    return true;
  };
  const auto wait = [&] {
    const uint32_t lost = other_dom0.begin();
    other_dom0.ask(XS_WRITE, "/n|x", lost);
    ASSERT_EQ(other_dom0.commit(lost), "EAGAIN");
    other_dom0.say(XS_TRANSACTION_START, "|");
    ASSERT_EQ(other_dom0.hear(), std::nullopt);
  };
  uint32_t turn = take_turn(dom0, third_dom0, "/n");
  wait();
  EXPECT_EQ(dom0.ask(XS_TRANSACTION_END, "F|", turn), "OK|");
  EXPECT_TRUE(waiter_gets_its_turn());

  turn = take_turn(dom0, third_dom0, "/n");
  wait();
  EXPECT_EQ(dom0.ask(XS_RESET_WATCHES, "|"), "OK|");
  EXPECT_TRUE(waiter_gets_its_turn());

  {
    TestClient leaves(server);
    take_turn(leaves, third_dom0, "/n");
    wait();
  }
  EXPECT_TRUE(waiter_gets_its_turn());

  turn = take_turn(dom0, third_dom0, "/n");
  wait();
  const uint64_t deadline_ns = server.turns().next_deadline_ns();
  EXPECT_EQ(deadline_ns, clock.now_ns() + kDom0TurnNs);
  pass(kDom0TurnNs - 1);
  EXPECT_FALSE(waiter_gets_its_turn());
  pass(1);
  EXPECT_TRUE(waiter_gets_its_turn());
  // It may still commit, if it is lucky.
  EXPECT_EQ(dom0.commit(turn), "OK|");
  EXPECT_TRUE(server.turns().is_idle());
}

TEST_F(TurnsTest, WaitersThatLeaveAreForgotten) {
  share("/n");
  const uint32_t turn = take_turn(dom0, third_dom0, "/n");
  {
    TestClient leaves(server);
    const uint32_t lost = leaves.begin();
    leaves.ask(XS_WRITE, "/n|x", lost);
    ASSERT_EQ(leaves.commit(lost), "EAGAIN");
    leaves.say(XS_TRANSACTION_START, "|");
    TestClient writes(server);
    writes.say(XS_WRITE, "/n|y");
    EXPECT_EQ(writes.hear(), std::nullopt);
  }
  EXPECT_EQ(server.turns().next_deadline_ns(), 0u);
  EXPECT_EQ(dom0.commit(turn), "OK|");
  EXPECT_TRUE(server.turns().is_idle());
}

TEST_F(TurnsTest, AClientWithSeveralTransactionsDoesNotWaitForItself) {
  share("/n");
  take_turn(dom0, other_dom0, "/n");
  const uint32_t second = dom0.begin();
  other_guest.ask(XS_READ, "/n|");
  dom0.ask(XS_WRITE, "/n|1", second);
  EXPECT_EQ(dom0.commit(second), "OK|");  // its own turn refuses it nothing, though the first one is lost now
  EXPECT_EQ(dom0.ask(XS_WRITE, "/n|2"), "OK|");
}

TEST_F(TurnsTest, ChangesOfOthersWaitForTheEndOfTheTurnOnceAndNoLonger) {
  share("/n");
  const uint32_t turn = take_turn(dom0, third_dom0, "/n");
  other_dom0.say(XS_WRITE, "/n|1");
  guest.say(XS_WRITE, "/n|2");
  settle();
  EXPECT_EQ(other_dom0.hear(), std::nullopt);
  EXPECT_EQ(guest.hear(), std::nullopt);
  EXPECT_EQ(dom0.ask(XS_READ, "/n|", turn), "lost");
  dom0.ask(XS_WRITE, "/n|mine", turn);
  EXPECT_EQ(dom0.commit(turn), "OK|");
  settle();
  EXPECT_EQ(other_dom0.hear(), "OK|");
  EXPECT_EQ(guest.hear(), "OK|");

  take_turn(dom0, third_dom0, "/n");
  other_dom0.say(XS_RM, "/n|");
  pass(kDom0TurnNs - 1);
  EXPECT_EQ(other_dom0.hear(), std::nullopt);
  pass(1);
  EXPECT_EQ(other_dom0.hear(), "OK|");
}

TEST_F(TurnsTest, OnlyChangesToWhatTheTransactionHasReadAreHeldUp) {
  struct Row {
    std::string claim;
    uint32_t read;
    std::string read_path;
    uint32_t change;
    std::string payload;
    bool waits;
  };
  const Row rows[] = {
      {"its value", XS_READ, "/d/v|", XS_WRITE, "/d/v|1", true},
      {"its rights", XS_READ, "/d/v|", XS_SET_PERMS, "/d/v|n0|", true},
      {"its removal", XS_READ, "/d/v|", XS_RM, "/d/v|", true},
      {"the removal of what is above", XS_READ, "/d/v|", XS_RM, "/d|", true},
      {"its rights, when only these were read", XS_GET_PERMS, "/d/v|", XS_SET_PERMS, "/d/v|n0|", true},
      {"its value, when only rights were read", XS_GET_PERMS, "/d/v|", XS_WRITE, "/d/v|1", false},
      {"a child of it, when only the value was read", XS_READ, "/d|", XS_WRITE, "/d/new|1", false},
      {"a child of it, when the list was read", XS_DIRECTORY, "/d|", XS_WRITE, "/d/new|1", true},
      {"a child that goes, when the list was read", XS_DIRECTORY, "/d|", XS_RM, "/d/v|", true},
      {"a child's value, when the list was read", XS_DIRECTORY, "/d|", XS_WRITE, "/d/v|1", false},
      {"something below a child, when the list was read", XS_DIRECTORY, "/d|", XS_WRITE, "/d/v/w|1", false},
      {"a node that was missed", XS_READ, "/d/no|", XS_WRITE, "/d/no|1", true},
      {"a node above one that was missed", XS_READ, "/d/no/deep|", XS_MKDIR, "/d/no|", true},
      {"a node below one that was missed", XS_READ, "/d/no|", XS_WRITE, "/d/no/deep|1", true},
      {"a directory that is there already", XS_READ, "/d/v|", XS_MKDIR, "/d/v|", false},
      {"the removal of nothing", XS_READ, "/d/no|", XS_RM, "/d/no|", false},
      {"a neighbour whose name begins alike", XS_READ, "/d/v|", XS_WRITE, "/d/v2|1", false},
      {"the removal of a neighbour whose name begins alike", XS_READ, "/d/v2/x|", XS_RM, "/d/v|", false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.claim);
    share("/n");
    dom0.ask(XS_WRITE, "/d/v|0");
    dom0.ask(XS_MKDIR, "/d/v2/x|");
    const uint32_t turn = take_turn(dom0, third_dom0, "/n");
    dom0.ask(row.read, row.read_path, turn);
    TestClient changes(server);
    changes.say(row.change, row.payload);
    settle();
    EXPECT_EQ(!changes.hear().has_value(), row.waits);
    EXPECT_EQ(dom0.commit(turn), "OK|");
    settle();
    dom0.ask(XS_RM, "/d|");
  }
}

TEST_F(TurnsTest, TheOldestCannotBeRefusedWhereverItReads) {
  share("/a");
  share("/b");
  // One has its turn at /a and reads /b; one that was refused later has its turn at /b.
  const uint32_t older = take_turn(dom0, third_dom0, "/a");
  dom0.ask(XS_READ, "/b|", older);
  lose(other_dom0, dom0, "/b");  // its own client may spoil it: so it reads again
  const uint32_t younger = other_dom0.begin();
  other_dom0.ask(XS_WRITE, "/b|younger", younger);
  EXPECT_EQ(other_dom0.commit(younger), "EAGAIN");
  EXPECT_EQ(dom0.commit(older), "EAGAIN");
  // It keeps its age.
  const uint32_t again = dom0.begin();
  dom0.ask(XS_READ, "/a|", again);
  dom0.ask(XS_READ, "/b|", again);
  dom0.ask(XS_WRITE, "/a|older", again);
  dom0.ask(XS_WRITE, "/b|older", again);
  const uint32_t younger_again = number([&] {
    other_dom0.say(XS_TRANSACTION_START, "|");
    settle();
    auto reply = other_dom0.hear();
    return reply ? reply : std::optional<std::string>("0");
  }());
  if (younger_again != 0) {
    other_dom0.ask(XS_WRITE, "/a|younger", younger_again);
    EXPECT_EQ(other_dom0.commit(younger_again), "EAGAIN");
  }
  EXPECT_EQ(dom0.commit(again), "OK|");
}

TEST_F(TurnsTest, NobodyWaitsLongerThanTheLimitWhateverOthersDo) {
  share("/n");
  std::vector<std::unique_ptr<TestClient>> hostile;
  for (int i = 0; i < 30; ++i) {
    hostile.push_back(std::make_unique<TestClient>(server, Subject{static_cast<DomId>(100 + i), {}}));
    lose(*hostile.back(), dom0, "/n");
  }
  lose(guest, dom0, "/n");
  for (auto& client : hostile) client->say(XS_TRANSACTION_START, "|");
  guest.say(XS_TRANSACTION_START, "|");
  uint64_t waited_ns = 0;
  std::optional<std::string> reply = guest.hear();
  for (; !reply && waited_ns < 10 * kStartWaitNs; waited_ns += 1'000'000) {
    pass(1'000'000);
    reply = guest.hear();
  }
  EXPECT_EQ(waited_ns, kStartWaitNs);
  ASSERT_TRUE(reply);
  // It has no turn, and is refused; but it keeps its age, and all others have lost theirs by not committing in time: so
  // it is the next.
  const uint32_t in_vain = number(reply);
  guest.ask(XS_WRITE, "/n|x", in_vain);
  EXPECT_EQ(guest.commit(in_vain), "EAGAIN");
  for (auto& client : hostile) {
    while (const auto started = client->hear()) client->ask(XS_TRANSACTION_END, "F|", number(started));
  }
}

// What a guest can do to Dom0 with all its turns.
TEST_F(TurnsTest, AHostileGuestCostsDom0OneRefusalAndItsTimeAtMost) {
  for (int i = 0; i < 1000; ++i) share("/shared/" + std::to_string(i));
  const auto hold_all = [&](TestClient& client, const std::string& path) {
    const uint32_t turn = take_turn(client, client, path);  // it can spoil its own transaction
    for (int i = 0; i < 1000; ++i) client.ask(XS_READ, "/shared/" + std::to_string(i) + "|", turn);
  };
  share("/own/5");
  hold_all(guest, "/shared/0");
  hold_all(other_guest, "/own/5");
  // Requests outside of transactions do not wait, nor do those that touch other nodes.
  EXPECT_EQ(dom0.ask(XS_WRITE, "/shared/500|1"), "OK|");
  EXPECT_EQ(dom0.ask(XS_RM, "/shared/501|"), "OK|");
  EXPECT_EQ(dom0.ask(XS_WRITE, "/elsewhere|1"), "OK|");

  const auto commit = [&] {
    const uint32_t transaction = dom0.begin();
    dom0.ask(XS_READ, "/shared/0|", transaction);
    dom0.ask(XS_WRITE, "/shared/0|dom0", transaction);
    dom0.ask(XS_WRITE, "/shared/2|dom0", transaction);
    return dom0.commit(transaction);
  };
  EXPECT_EQ(commit(), "EAGAIN");
  dom0.say(XS_TRANSACTION_START, "|");
  // Another guest that waits at the same node, and was refused before, goes behind.
  pass(kGuestTurnNs);
  const uint32_t again = number(dom0.hear());
  dom0.ask(XS_READ, "/shared/0|", again);
  dom0.ask(XS_WRITE, "/shared/0|dom0", again);
  dom0.ask(XS_WRITE, "/shared/2|dom0", again);
  EXPECT_EQ(dom0.commit(again), "OK|");
}

TEST_F(TurnsTest, Dom0CannotBeRefusedTwiceByAnyNumberOfGuests) {
  std::vector<std::unique_ptr<TestClient>> hostile;
  share("/common");
  const auto hold = [&](TestClient& client, DomId domid) {
    const std::string own = "/own/" + std::to_string(domid);
    share(own);
    const uint32_t turn = take_turn(client, client, own);
    client.ask(XS_READ, "/common|", turn);
  };
  for (DomId domid = 100; domid < 200; ++domid) {
    hostile.push_back(std::make_unique<TestClient>(server, Subject{domid, {}}));
    hold(*hostile.back(), domid);
  }
  const auto commit = [&] {
    const uint32_t transaction = dom0.begin();  // is answered at once: all have their turns elsewhere
    dom0.ask(XS_READ, "/common|", transaction);
    dom0.ask(XS_WRITE, "/common|dom0", transaction);
    return dom0.commit(transaction);
  };
  EXPECT_EQ(commit(), "EAGAIN");
  EXPECT_EQ(commit(), "OK|");
}

TEST_F(TurnsTest, Dom0RemovesWhatGuestsWithTurnsHaveReadAfterOneRefusal) {
  share("/common/x");
  share("/own");
  const uint32_t turn = take_turn(guest, guest, "/own");
  guest.ask(XS_READ, "/common/x|", turn);
  const auto remove = [&] {
    const uint32_t transaction = dom0.begin();
    dom0.ask(XS_RM, "/common|", transaction);
    return dom0.commit(transaction);
  };
  EXPECT_EQ(remove(), "EAGAIN");
  EXPECT_EQ(remove(), "OK|");
  EXPECT_EQ(guest.commit(turn), "EAGAIN");
}

TEST_F(TurnsTest, WhoeverLetsATurnRunOutIsTheYoungestAgain) {
  share("/n");
  take_turn(guest, guest, "/n");
  pass(kGuestTurnNs);
  lose(other_guest, dom0, "/n");
  const uint32_t turn = take_turn(dom0, third_dom0, "/n");
  const uint32_t lost = guest.begin();
  guest.ask(XS_WRITE, "/n|x", lost);
  ASSERT_EQ(guest.commit(lost), "EAGAIN");
  guest.say(XS_TRANSACTION_START, "|");
  other_guest.say(XS_TRANSACTION_START, "|");
  EXPECT_EQ(dom0.commit(turn), "OK|");
  settle();
  EXPECT_EQ(guest.hear(), std::nullopt);
  const uint32_t older = number(other_guest.hear());
  EXPECT_EQ(other_guest.commit(older), "OK|");
  settle();
  number(guest.hear());
}

TEST_F(TurnsTest, GuestsAndDom0AtOneNodeAlternate) {
  share("/n");
  guest.ask(XS_READ, "/n|");
  const uint32_t turn = take_turn(dom0, third_dom0, "/n");
  const auto wait = [&](TestClient& client) {
    const uint32_t lost = client.begin();
    client.ask(XS_WRITE, "/n|x", lost);
    ASSERT_EQ(client.commit(lost), "EAGAIN");
    client.say(XS_TRANSACTION_START, "|");
    ASSERT_EQ(client.hear(), std::nullopt);
  };
  wait(other_dom0);
  wait(guest);
  wait(other_guest);
  wait(third_dom0);
  const auto next = [&]() -> std::string {
    settle();
    for (auto& [name, client] : {std::pair<std::string, TestClient&>{"other_dom0", other_dom0},
                                 {"third_dom0", third_dom0},
                                 {"guest", guest},
                                 {"other_guest", other_guest}}) {
      if (const auto reply = client.hear()) {
        const uint32_t transaction = number(reply);
        client.ask(XS_READ, "/n|", transaction);
        client.ask(XS_WRITE, "/n|" + name, transaction);
        EXPECT_EQ(client.commit(transaction), "OK|");
        return name;
      }
    }
    return "nobody";
  };
  EXPECT_EQ(dom0.commit(turn), "OK|");
  const std::vector<std::string> order = {next(), next(), next(), next()};
  EXPECT_THAT(order, ElementsAre("guest", "other_dom0", "other_guest", "third_dom0"));
}

TEST_F(TurnsTest, AGuestThatHoldsTurnsTouchesNobodyWhoseNodesItCannotRead) {
  dom0.ask(XS_WRITE, "/private|0");
  dom0.ask(XS_SET_PERMS, "/private|n6|");
  share("/shared");
  const uint32_t turn = take_turn(guest, guest, "/shared");
  EXPECT_EQ(guest.ask(XS_READ, "/private|", turn), "EACCES");
  EXPECT_EQ(other_guest.ask(XS_WRITE, "/private|1"), "OK|");
  const uint32_t transaction = other_guest.begin();
  other_guest.ask(XS_READ, "/private|", transaction);
  other_guest.ask(XS_WRITE, "/private|2", transaction);
  EXPECT_EQ(other_guest.commit(transaction), "OK|");
}

TEST_F(TurnsTest, RandomClientsNeitherGetStuckNorLeaveAnythingBehind) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::mt19937 random(seed);
    {
      struct Client {
        std::unique_ptr<TestClient> connection;
        uint32_t transaction = 0;
        uint64_t asked_ns = 0;
        bool is_starting = false;
        bool is_waiting = false;
      };
      std::array<Client, 8> clients;
      const auto path = [&] { return "/r/" + std::to_string(random() % 3) + "|"; };
      for (int step = 0; step < 2000; ++step) {
        pass(random() % 600'000);
        Client& client = clients[random() % clients.size()];
        if (!client.connection || random() % 200 == 0) {
          const DomId domid = random() % 2 == 0 ? kDom0 : static_cast<DomId>(1 + random() % 5);
          client = {};
          client.connection = std::make_unique<TestClient>(server, Subject{domid, {}});
        }
        if (client.is_waiting) {
          const auto reply = client.connection->hear();
          if (!reply) {
            EXPECT_LE(clock.now_ns() - client.asked_ns, kStartWaitNs);
            continue;
          }
          client.is_waiting = false;
          if (std::exchange(client.is_starting, false) && isdigit((*reply)[0]) != 0) client.transaction = number(reply);
          continue;
        }
        client.asked_ns = clock.now_ns();
        client.is_waiting = true;
        switch (random() % 6) {
          case 0:
            if (client.transaction == 0) {
              client.is_starting = true;
              client.connection->say(XS_TRANSACTION_START, "|");
              break;
            }
            [[fallthrough]];
          case 1:
            if (client.transaction != 0) {
              client.connection->say(XS_TRANSACTION_END, random() % 5 == 0 ? "F|" : "T|",
                                     std::exchange(client.transaction, 0));
              break;
            }
            [[fallthrough]];
          case 2:
            client.connection->say(XS_WRITE, path() + "1", client.transaction);
            break;
          case 3:
            client.connection->say(random() % 10 == 0 ? XS_RM : XS_MKDIR, path(), client.transaction);
            break;
          default:
            client.connection->say(random() % 2 == 0 ? XS_READ : XS_DIRECTORY, path(), client.transaction);
        }
      }
    }
    EXPECT_TRUE(server.turns().is_idle());
    EXPECT_EQ(server.turns().next_deadline_ns(), 0u);
  }
}

}  // namespace
}  // namespace xenopolis::xenstore
