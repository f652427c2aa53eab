#include "xenstore/connection.h"

#include <gmock/gmock.h>

#include "xenstore/test_client.h"

namespace xenopolis::xenstore {
namespace {

using testing::ElementsAre;

// Answers every request with its own payload.
class Echo final : public RequestHandler {
 public:
  void handle(Connection& connection, const Header& header, std::string_view payload) override {
    ++handled;
    connection.reply(header, {payload});
  }
  unsigned handled = 0;
};

class Idle final : public Transport {
 public:
  bool take_turn() override {
    ++turns;
    return false;
  }
  unsigned turns = 0;
};

class ConnectionTest : public testing::Test {
 protected:
  void receive_requests(unsigned count, size_t bytes) {
    for (unsigned i = 0; i < count; ++i) connection.receive(message_bytes(XS_READ, std::string(bytes, 'p')));
  }

  Echo echo;
  WatchTrie trie;
  ReadyList ready;
  Idle transport;
  Connection connection{echo, trie, ready, transport, Subject{}};
};

TEST_F(ConnectionTest, HandlesNoMoreRequestsThanATurnAllows) {
  receive_requests(100, 1);
  connection.process(kRequestsPerTurn);
  EXPECT_EQ(echo.handled, kRequestsPerTurn);
  EXPECT_TRUE(connection.has_work());
  for (int turn = 0; turn < 3; ++turn) connection.process(kRequestsPerTurn);
  EXPECT_EQ(echo.handled, 100u);
  EXPECT_FALSE(connection.has_work());
}

TEST_F(ConnectionTest, StopsReadingFromAClientThatDoesNotReadItsReplies) {
  receive_requests(40, 4000);
  connection.process(1000);
  const unsigned handled = echo.handled;
  EXPECT_LT(handled, 20u);
  EXPECT_FALSE(connection.wants_input());
  EXPECT_FALSE(connection.has_work());
  EXPECT_LT(connection.output().size(), kDom0OutputLimits.replies + kHeaderBytes + kPayloadMax);
  connection.sent(connection.output().size());
  EXPECT_TRUE(connection.has_work());
  connection.process(1000);
  EXPECT_GT(echo.handled, handled);
}

TEST_F(ConnectionTest, EndsAtAPayloadOverTheLimit) {
  receive_requests(1, 1);
  Header header{XS_WRITE, 0, 0, kPayloadMax + 1};
  connection.receive(std::string_view(reinterpret_cast<const char*>(&header), sizeof header));
  connection.process(10);
  EXPECT_EQ(echo.handled, 1u);
  EXPECT_TRUE(connection.is_broken());
  EXPECT_FALSE(connection.has_work());
  EXPECT_FALSE(connection.wants_input());
}

TEST_F(ConnectionTest, AnEventMakesItsTransportReady) {
  connection.add_watch("/a", "t", 0);
  EXPECT_FALSE(ready.empty());
  ready.run_once();
  EXPECT_EQ(transport.turns, 1u);
  EXPECT_TRUE(ready.empty());
}

TEST_F(ConnectionTest, KeepsABoundedBacklogOfEventsAndLosesNoWatch) {
  connection.add_watch("/a", "t", 0);
  connection.add_watch("/b", "t", 0);
  connection.sent(connection.output().size());
  const auto fire = [&](std::string_view watched, std::string_view path) {
    trie.for_each_matching(watched, [&](Watch& watch) { watch.connection.fire(watch, path); });
  };
  for (int i = 0; i < 100'000; ++i) fire("/a", "/a/some/path/below");
  fire("/b", "/b/x");
  EXPECT_LT(connection.output().size(), kDom0OutputLimits.events + kHeaderBytes + kPayloadMax);
  std::vector<std::string> last;
  while (!connection.output().empty()) {
    MessageReader reader;
    reader.append(connection.output());
    connection.sent(connection.output().size());
    Header header;
    std::string_view payload;
    while (reader.next(header, payload) == MessageReader::Next::kMessage) {
      last.push_back(nuls_to_bars(std::string(payload)));
    }
  }
  ASSERT_GT(last.size(), 2u);
  EXPECT_EQ(last[last.size() - 2], "/a|t|");
  EXPECT_EQ(last[last.size() - 1], "/b|t|");
  // Single events again.
  fire("/b", "/b/y");
  EXPECT_EQ(nuls_to_bars(std::string(connection.output().substr(kHeaderBytes))), "/b/y|t|");
}

TEST_F(ConnectionTest, AnOverflowedWatchCanBeTakenBack) {
  connection.add_watch("/a", "t", 0);
  for (int i = 0; i < 100'000; ++i) {
    trie.for_each_matching("/a", [&](Watch& watch) { watch.connection.fire(watch, "/a/x"); });
  }
  EXPECT_TRUE(connection.remove_watch("/a", "t"));
  while (!connection.output().empty()) connection.sent(connection.output().size());
  EXPECT_TRUE(trie.empty());
}

TEST_F(ConnectionTest, TransactionNumbersAreNeverZeroOrInUse) {
  Tree tree{new Node("", new Perms({{0, kAccessNone}}, 1), 1)};
  const uint32_t first = connection.add_transaction(std::make_unique<Transaction>());
  const uint32_t second = connection.add_transaction(std::make_unique<Transaction>());
  EXPECT_NE(first, 0u);
  EXPECT_NE(first, second);
  EXPECT_NE(connection.take_transaction(first), nullptr);
  EXPECT_EQ(connection.find_transaction(first), nullptr);
  EXPECT_NE(connection.find_transaction(second), nullptr);
}

TEST(ReadyList, GivesEveryoneOneTurnARoundAndForgetsTheDead) {
  class Eager final : public Transport {
   public:
    explicit Eager(std::string& log, char name) : log_(log), name_(name) {}
    bool take_turn() override {
      log_.push_back(name_);
      return true;
    }

   private:
    std::string& log_;
    char name_;
  };
  std::string log;
  ReadyList ready;
  Eager a(log, 'a');
  auto b = std::make_unique<Eager>(log, 'b');
  ready.push(a);
  ready.push(*b);
  ready.push(a);
  ready.run_once();
  ready.run_once();
  EXPECT_EQ(log, "abab");
  b.reset();
  ready.run_once();
  EXPECT_EQ(log, "ababa");
}

}  // namespace
}  // namespace xenopolis::xenstore
