// Transactions against the plainest model: a store that runs the same requests one after the other, without any
// transaction. Whatever committed must have seen and done exactly what it would have seen and done alone, at its end.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <cstdlib>

#include "xenstore/test_client.h"

namespace xenopolis::xenstore {
namespace {

constexpr unsigned kClients = 4;
constexpr std::array<DomId, kClients> kDomains = {0, 0, 1, 2};

struct Action {
  unsigned client = 0;
  uint32_t type = 0;  // XS_TRANSACTION_START: start or, when one is open, end
  std::string payload;
};

void showValue(const Action& action, std::ostream& out) {
  out << "client " << action.client << " type " << action.type << " " << action.payload;
}

rc::Gen<Action> any_action() {
  const auto path = rc::gen::map(rc::gen::tuple(rc::gen::inRange(0, 4), rc::gen::inRange(0, 3), rc::gen::inRange(0, 3)),
                                 [](const std::tuple<int, int, int>& parts) {
                                   const auto [depth, first, second] = parts;
                                   std::string text = "/d";
                                   if (depth >= 1) text += "/" + std::to_string(first);
                                   if (depth >= 2) text += "/" + std::to_string(second);
                                   if (depth >= 3) text += "/x";
                                   return text;
                                 });
  const auto type = rc::gen::element<uint32_t>(XS_READ, XS_DIRECTORY, XS_GET_PERMS, XS_WRITE, XS_WRITE, XS_MKDIR, XS_RM,
                                               XS_SET_PERMS, XS_TRANSACTION_START, XS_TRANSACTION_START);
  return rc::gen::apply(
      [](unsigned client, uint32_t kind, const std::string& where, int value) {
        Action action{client, kind, where + "|"};
        if (kind == XS_WRITE) action.payload += std::to_string(value);
        if (kind == XS_SET_PERMS) {
          static constexpr const char* kPerms[] = {"n0|", "r0|", "b0|", "n1|", "r1|b2|", "n2|w1|"};
          action.payload += kPerms[value];
        }
        return action;
      },
      rc::gen::inRange(0u, kClients), type, path, rc::gen::inRange(0, 6));
}

std::string dump(TestClient& client, const std::string& path) {
  std::string text = path + "=" + client.ask(XS_READ, path + "|") + " " + client.ask(XS_GET_PERMS, path + "|") + "\n";
  std::string names = client.ask(XS_DIRECTORY, path + "|");
  for (size_t bar = names.find('|'); bar != std::string::npos; bar = names.find('|')) {
    text += dump(client, (path == "/" ? "" : path) + "/" + names.substr(0, bar));
    names.erase(0, bar + 1);
  }
  return text;
}

// One store and its clients.
struct World {
  World() {
    for (unsigned i = 0; i < kClients; ++i) {
      clients.push_back(std::make_unique<TestClient>(server, Subject{kDomains[i], std::nullopt}));
    }
    clients[0]->ask(XS_MKDIR, "/d|");
    clients[0]->ask(XS_SET_PERMS, "/d|b0|");
  }
  Server server;
  std::vector<std::unique_ptr<TestClient>> clients;
};

struct Open {
  uint32_t id = 0;
  std::vector<std::pair<Action, std::string>> seen;
};

TEST(Transactions, AreSerial) {
  setenv("RC_PARAMS", "max_success=2000", 0);
  unsigned commits = 0, conflicts = 0;
  const bool holds = rc::check("what committed equals running alone at its end", [&] {
    const auto actions = *rc::gen::resize(120, rc::gen::container<std::vector<Action>>(any_action()));
    World real, model;
    std::array<Open, kClients> open;
    for (const Action& action : actions) {
      TestClient& client = *real.clients[action.client];
      TestClient& shadow = *model.clients[action.client];
      Open& transaction = open[action.client];
      if (action.type != XS_TRANSACTION_START) {
        const std::string reply = client.ask(action.type, action.payload, transaction.id);
        if (transaction.id != 0) {
          transaction.seen.emplace_back(action, reply);
        } else {
          RC_ASSERT(reply == shadow.ask(action.type, action.payload));
        }
      } else if (transaction.id == 0) {
        transaction.id = client.begin();
      } else {
        const std::string verdict = client.commit(std::exchange(transaction.id, 0));
        const auto seen = std::exchange(transaction.seen, {});
        RC_ASSERT(verdict == "OK|" || verdict == "EAGAIN");
        verdict == "OK|" ? ++commits : ++conflicts;
        if (verdict != "OK|") continue;
        for (const auto& [request, reply] : seen) RC_ASSERT(reply == shadow.ask(request.type, request.payload));
      }
    }
    RC_ASSERT(dump(*real.clients[0], "/") == dump(*model.clients[0], "/"));
  });
  EXPECT_TRUE(holds);
  // The property says something only if both happened.
  EXPECT_GT(commits, 50u);
  EXPECT_GT(conflicts, 20u);
}

}  // namespace
}  // namespace xenopolis::xenstore
