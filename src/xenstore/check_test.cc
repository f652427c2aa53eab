#include "xenstore/check.h"

#include <gmock/gmock.h>

#include <random>

#include "xenstore/test_client.h"

namespace xenopolis::xenstore {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class CheckTest : public testing::Test {
 protected:
  CheckTest() {
    for (const char* domid : {"5", "6"}) {
      const std::string home = "/local/domain/" + std::string(domid);
      EXPECT_EQ(dom0.ask(XS_INTRODUCE, std::string(domid) + "|1|2|"), "OK|");
      EXPECT_EQ(dom0.ask(XS_MKDIR, home + "|"), "OK|");
      EXPECT_EQ(dom0.ask(XS_SET_PERMS, home + "|n" + domid + "|"), "OK|");
    }
  }
  Node& node(std::string_view path) {
    return const_cast<Node&>(*server.store().committed().find(path).node);  // to break it
  }

  // A request that has to wait for somebody's turn waits until that has run out.
  std::string ask(TestClient& client, uint32_t type, const std::string& payload, uint32_t transaction = 0) {
    client.say(type, payload, transaction);
    std::optional<std::string> reply = client.hear();
    while (!reply) {
      clock.advance_ns(1'000'000);
      server.turns().advance();
      while (!server.ready().empty()) server.ready().run_once();
      reply = client.hear();
    }
    return *reply;
  }

  ManualClock clock;
  TestLink link;
  Server server{&link, {}, &clock};
  TestClient dom0{server};
  TestClient five{server, Subject{5, {}}};
  TestClient six{server, Subject{6, {}}};
};

// Every request that changes anything, at random, from three clients, with transactions and domains that go: after each
// the counters, indices and tries must say what a walk over everything finds.
TEST_F(CheckTest, NothingThatClientsDoLeavesFaults) {
  std::mt19937 random(4711);
  const auto pick = [&](auto... options) {
    const std::string all[] = {std::string(options)...};
    return all[random() % std::size(all)];
  };
  TestClient* clients[] = {&dom0, &five, &six};
  std::vector<std::pair<TestClient*, uint32_t>> transactions;
  for (int step = 0; step < 4000; ++step) {
    TestClient& client = *clients[random() % 3];
    const std::string home = "/local/domain/" + pick("5", "6");
    const std::string path = pick(home, home + "/a", home + "/a/b", home + "/a/b/c", home + "/d", "/x", "/x/y");
    uint32_t transaction = 0;
    if (!transactions.empty() && random() % 3 == 0) {
      const auto& open = transactions[random() % transactions.size()];
      if (open.first == &client) transaction = open.second;
    }
    switch (random() % 10) {
      case 0:
      case 1:
        ask(client, XS_WRITE, path + "|" + std::string(random() % 40, 'v'), transaction);
        break;
      case 2:
        ask(client, XS_MKDIR, path + "/" + pick("m", "n") + "|", transaction);
        break;
      case 3:
        if (path.size() > home.size() || path == "/x") ask(client, XS_RM, path + "|", transaction);
        break;
      case 4:
        ask(client, XS_SET_PERMS, path + "|" + pick("n5", "n6", "n0", "b5") + "|" + pick("r5|", "b6|r7|", ""),
            transaction);
        break;
      case 5:
        ask(client, XS_WATCH, path + "|" + pick("t", "u") + "|" + pick("", "1|", "0|"));
        break;
      case 6:
        ask(client, XS_UNWATCH, path + "|" + pick("t", "u") + "|");
        break;
      case 7:
        if (transactions.size() < 4) {
          const std::string id = ask(client, XS_TRANSACTION_START, "|");
          if (std::isdigit(static_cast<unsigned char>(id[0])) != 0) transactions.emplace_back(&client, std::stoul(id));
        }
        break;
      case 8:
        if (!transactions.empty()) {
          const auto [owner, id] = transactions.back();
          transactions.pop_back();
          ask(*owner, XS_TRANSACTION_END, pick("T|", "T|", "F|"), id);
        }
        break;
      case 9:
        if (random() % 8 == 0) {
          const std::string domid = pick("5", "6");
          ask(dom0, XS_RELEASE, domid + "|");
          ask(dom0, XS_INTRODUCE, domid + "|1|2|");
          ask(dom0, XS_MKDIR, "/local/domain/" + domid + "|");
          ask(dom0, XS_SET_PERMS, "/local/domain/" + domid + "|n" + domid + "|");
        } else if (random() % 8 == 0) {
          ask(dom0, XS_SET_TARGET, "5|6|");
        }
        break;
    }
    for (TestClient* each : clients) each->events();
    if (step % 16 == 0) {
      ASSERT_THAT(find_faults(server), IsEmpty()) << "after step " << step;
    }
  }
  EXPECT_THAT(find_faults(server), IsEmpty());
}

TEST_F(CheckTest, FindsAValueThatNobodyAccountedFor) {
  node("/local/domain/5").value = "more";
  EXPECT_THAT(find_faults(server), Contains(HasSubstr("domain 5 owns 1 nodes")));
  EXPECT_EQ(dom0.ask(XS_CONTROL, "check|"), "EIO");
}

TEST_F(CheckTest, FindsAnOwnerThatTheIndexDoesNotKnow) {
  node("/tool").perms = new Perms({{6, kAccessNone}}, 1);
  EXPECT_THAT(find_faults(server), Contains(HasSubstr("the index of its 2 subtrees has 1")));
}

TEST_F(CheckTest, FindsChildrenOutOfOrder) {
  EXPECT_EQ(dom0.ask(XS_MKDIR, "/tool/zzz|"), "OK|");
  node("/tool/zzz").name = "aaa";
  EXPECT_THAT(find_faults(server), Contains(HasSubstr("aaa")));
}

TEST_F(CheckTest, FindsAnInvalidName) {
  node("/tool/xenstored").name = "xen*tored";
  EXPECT_THAT(find_faults(server), Contains(HasSubstr("is no path")));
}

TEST_F(CheckTest, FindsAWatchInTheWrongPlace) {
  EXPECT_EQ(dom0.ask(XS_WATCH, "/a/b|t|"), "OK|");
  const Watch* watch = server.watches().root().children.at("a")->children.at("b")->groups.at(0).watches.at(0);
  const_cast<Watch*>(watch)->path = "/a/c";
  EXPECT_THAT(find_faults(server), Contains(HasSubstr("stands at /a/b")));
  const_cast<Watch*>(watch)->path = "/a/b";
  EXPECT_THAT(find_faults(server), IsEmpty());
}

TEST_F(CheckTest, FindsATargetThatDoesNotKnow) {
  EXPECT_EQ(dom0.ask(XS_SET_TARGET, "5|6|"), "OK|");
  EXPECT_THAT(find_faults(server), IsEmpty());
  const_cast<Server::Domain&>(server.domains().at(6)).targeted_by.clear();
  EXPECT_THAT(find_faults(server), Contains(HasSubstr("domain 5 has domain 6 as target")));
}

}  // namespace
}  // namespace xenopolis::xenstore
