// Transactions against a plain model that runs the same requests one after the other and knows no transactions.
// Whatever committed must have been answered, and have done, exactly what it would have alone, at its end; what was
// refused must have done nothing.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <cstdlib>

#include "xenstore/test_client.h"
#include "xenstore/testing/model.h"

namespace xenopolis::xenstore {
namespace {

constexpr std::array<DomId, 5> kDomains = {0, 0, 1, 2, 2};  // by client
constexpr unsigned kClients = kDomains.size();
constexpr unsigned kNodesQuota = 6;

// A request in the client's transaction if it has one, else beside.
struct Action {
  unsigned client = 0;
  uint32_t type = 0;  // XS_TRANSACTION_START: start or, when one is open, end; XS_RELEASE: of the client's domain
  std::string payload;
};

void showValue(const Action& action, std::ostream& out) {
  out << "client " << action.client << " type " << action.type << " " << action.payload;
}

rc::Gen<std::string> any_path() {
  return rc::gen::map(rc::gen::tuple(rc::gen::inRange(0, 5), rc::gen::inRange(0, 3), rc::gen::inRange(0, 3)),
                      [](const std::tuple<int, int, int>& parts) -> std::string {
                        const auto [depth, first, second] = parts;
                        if (depth == 4) return "/local/domain/" + std::to_string(1 + first % 2) + "/h";
                        std::string text = "/d";
                        if (depth >= 1) text += "/" + std::to_string(first);
                        if (depth >= 2) text += "/" + std::to_string(second);
                        if (depth >= 3) text += "/x";
                        return text;
                      });
}

rc::Gen<Action> any_action() {
  const auto type = rc::gen::weightedElement<uint32_t>({{2, XS_READ},
                                                        {2, XS_DIRECTORY},
                                                        {1, XS_GET_PERMS},
                                                        {5, XS_WRITE},
                                                        {2, XS_MKDIR},
                                                        {2, XS_RM},
                                                        {2, XS_SET_PERMS},
                                                        {7, XS_TRANSACTION_START},
                                                        {1, XS_RELEASE}});
  return rc::gen::apply(
      [](unsigned client, uint32_t kind, const std::string& where, int value) {
        Action action{client, kind, where + "|"};
        if (kind == XS_WRITE) action.payload += std::to_string(value);
        if (kind == XS_SET_PERMS) {
          static constexpr const char* kPerms[] = {"n0|", "r0|", "b0|", "n1|", "r1|b2|", "n2|w1|", "b2|"};
          action.payload += kPerms[value];
        }
        return action;
      },
      rc::gen::inRange(0u, kClients), type, any_path(), rc::gen::inRange(0, 7));
}

// The daemon and the model, side by side.
struct World {
  World() {
    dom0.ask(XS_MKDIR, "/d|");
    dom0.ask(XS_SET_PERMS, "/d|b0|");
    for (const unsigned client : {0u, 1u}) model.add_client(client, 0);
    for (const char* request : {"/tool/xenstored|", "/d|"}) expect({0, XS_MKDIR, request, 0}, "OK|");
    expect({0, XS_SET_PERMS, "/d|b0|", 0}, "OK|");
    for (const DomId domid : {DomId{1}, DomId{2}}) introduce(domid);
    for (unsigned i = 0; i < kClients; ++i) connect(i);
  }

  void introduce(DomId domid) {
    const std::string number = std::to_string(domid);
    RC_ASSERT(dom0.ask(XS_INTRODUCE, number + "|1|1|") == "OK|");
    // The model has one client for each domain.
    RC_ASSERT(model.introduce(0, domid, shadow_of(domid == 1 ? 2 : 3)).text == "OK|");
    both({0, XS_MKDIR, "/local/domain/" + number + "|", 0});
    both({0, XS_SET_PERMS, "/local/domain/" + number + "|n" + number + "|", 0});
  }
  void release(DomId domid) {
    for (unsigned i = 0; i < kClients; ++i) {
      if (kDomains[i] == domid) clients[i].reset();
    }
    RC_ASSERT(dom0.ask(XS_RELEASE, std::to_string(domid) + "|") == model.release(0, domid).text);
    introduce(domid);
    for (unsigned i = 0; i < kClients; ++i) {
      if (kDomains[i] == domid) connect(i);
    }
  }
  void connect(unsigned i) { clients[i] = std::make_unique<TestClient>(server, Subject{kDomains[i], std::nullopt}); }
  // Clients of one domain are one to the model.
  static unsigned shadow_of(unsigned client) { return client == 4 ? 3 : client; }

  void expect(const model::Model::Request& request, const std::string& reply) {
    RC_ASSERT(model.ask({shadow_of(request.client), request.type, request.payload, 0}).text == reply);
  }
  void both(const model::Model::Request& request) { expect(request, dom0.ask(request.type, request.payload)); }

  void expect_same_tree() {
    size_t nodes = 0;
    walk("/", nodes);
    RC_ASSERT(nodes == model.tree().size());
  }
  void walk(const std::string& path, size_t& nodes) {
    ++nodes;
    both({0, XS_READ, path + "|", 0});
    both({0, XS_GET_PERMS, path + "|", 0});
    both({0, XS_DIRECTORY, path + "|", 0});
    std::string names = dom0.ask(XS_DIRECTORY, path + "|");
    for (size_t bar = names.find('|'); bar != std::string::npos; bar = names.find('|')) {
      walk((path == "/" ? "" : path) + "/" + names.substr(0, bar), nodes);
      names.erase(0, bar + 1);
    }
  }

  TestLink link;
  Server server{&link, Quota{.nodes = kNodesQuota}};
  TestClient dom0{server};
  std::array<std::unique_ptr<TestClient>, kClients> clients;
  model::Model model{{kNodesQuota, 10, 2000}};
};

struct Open {
  uint32_t id = 0;
  std::vector<std::pair<Action, std::string>> seen;
};

TEST(Transactions, AreSerial) {
  setenv("RC_PARAMS", "max_success=1500", 0);
  unsigned commits = 0, conflicts = 0, refusals = 0;
  const bool holds = rc::check("what committed equals running alone at its end", [&] {
    const auto actions = *rc::gen::resize(150, rc::gen::container<std::vector<Action>>(any_action()));
    World world;
    // Views are made again and again, or hardly ever.
    if (*rc::gen::arbitrary<bool>()) world.server.store().keep_old_nodes(*rc::gen::element<uint64_t>(0, 500, 5000));
    std::array<Open, kClients> open;
    for (const Action& action : actions) {
      Open& transaction = open[action.client];
      if (action.type == XS_RELEASE) {
        const DomId domid = kDomains[action.client];
        if (domid == 0) continue;
        for (unsigned i = 0; i < kClients; ++i) {
          if (kDomains[i] == domid) open[i] = {};
        }
        world.release(domid);
        continue;
      }
      TestClient& client = *world.clients[action.client];
      if (action.type != XS_TRANSACTION_START) {
        const std::string reply = client.ask(action.type, action.payload, transaction.id);
        if (transaction.id != 0) {
          transaction.seen.emplace_back(action, reply);
          if (reply == "ENOSPC") ++refusals;
        } else {
          world.expect({action.client, action.type, action.payload, 0}, reply);
        }
      } else if (transaction.id == 0) {
        transaction.id = client.begin();
      } else {
        const std::string verdict = client.commit(std::exchange(transaction.id, 0));
        const auto seen = std::exchange(transaction.seen, {});
        RC_ASSERT(verdict == "OK|" || verdict == "EAGAIN");
        verdict == "OK|" ? ++commits : ++conflicts;
        if (verdict == "OK|") {
          for (const auto& [request, reply] : seen) {
            world.expect({request.client, request.type, request.payload, 0}, reply);
          }
        } else {
          world.expect_same_tree();
        }
      }
    }
    world.expect_same_tree();
  });
  EXPECT_TRUE(holds);
  // The property says something only if all of this happened.
  EXPECT_GT(commits, 500u);
  EXPECT_GT(conflicts, 200u);
  EXPECT_GT(refusals, 20u);
}

}  // namespace
}  // namespace xenopolis::xenstore
