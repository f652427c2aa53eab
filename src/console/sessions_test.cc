#include "console/sessions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/unix_socket.h"
#include "console/testing/fake_guest.h"
#include "console/testing/memory_file.h"

namespace xenopolis::console {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What a client has got, as text: "text", "<kind>" of other frames with what they say.
class TestClient {
 public:
  explicit TestClient(const std::string& path) : socket_(connect_unix(path, SOCK_STREAM, 0).value()) {}

  // False: the daemon does not take it.
  bool send(std::string_view bytes) {
    return ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  bool type(std::string_view text) {
    std::string frame;
    FrameHeader header{};
    header.kind = FrameKind::kInput;
    append_frame(frame, header, text);
    return send(frame);
  }
  void end_input() { shutdown(socket_.get(), SHUT_WR); }
  // False when there is nothing at the moment.
  bool receive() {
    std::array<char, 64 * 1024> bytes;
    const ssize_t count = recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno != EAGAIN)) is_closed = true;
    if (count <= 0) return false;
    std::string_view text(bytes.data(), static_cast<size_t>(count));
    received += text.size();
    if (answer.empty()) {
      line_.append(text);
      const size_t end = line_.find('\n');
      if (end == std::string::npos) return true;
      answer = nlohmann::json::parse(line_.substr(0, end));
      text = std::string_view(line_).substr(end + 1);
    }
    frames_.receive(text);
    while (const auto frame = frames_.next()) note(*frame);
    return true;
  }

  nlohmann::json answer;
  std::string seen;
  std::map<uint16_t, std::string> texts;  // by domid
  std::vector<std::string> names;
  uint64_t missed = 0;
  uint64_t received = 0;
  bool is_closed = false;

 private:
  void note(const Frame& frame) {
    switch (frame.header.kind) {
      case FrameKind::kText:
        seen += frame.payload;
        texts[frame.header.console.domid] += frame.payload;
        break;
      case FrameKind::kMissed:
        missed += frame.header.number;
        seen += "<missed>";
        break;
      case FrameKind::kConsole:
        names.emplace_back(frame.payload);
        break;
      case FrameKind::kLive:
        seen += "<live>";
        break;
      case FrameKind::kEnd:
        seen += "<end>";
        break;
      case FrameKind::kNotice:
        seen += "<notice>";
        break;
      case FrameKind::kInputTaken:
        seen += "<taken>";
        break;
      default:
        seen += "<?>";
        break;
    }
  }

  Fd socket_;
  std::string line_;
  FrameReader frames_;
};

class SessionsTest : public ::testing::Test {
 protected:
  void attach(DomId domid, const std::string& name, uint16_t index = 0) {
    ASSERT_TRUE(server_->attach(FakeLink::request({domid, index}, name, ++incarnation_)));
  }
  void write(DomId domid, std::string_view text, uint16_t index = 0) {
    while (!text.empty()) {
      text.remove_prefix(link_.guest(domid, index).write(text));
      server_->on_event(FakeLink::port_of({domid, index}));
      while (server_->has_work()) server_->run_turns();
    }
  }
  std::unique_ptr<TestClient> connect(const ClientRequest& request) {
    auto client = std::make_unique<TestClient>(path_);
    client->send(to_line(request));
    settle({client.get()});
    return client;
  }
  static ClientRequest to(std::string domain, bool write = false) {
    ClientRequest request;
    request.domain = std::move(domain);
    request.write = write;
    return request;
  }
  static ClientRequest all(std::vector<std::string> patterns = {}) {
    ClientRequest request;
    request.op = ClientRequest::Op::kWatch;
    request.patterns = std::move(patterns);
    return request;
  }
  // Until nothing moves any more; those clients read.
  void settle(std::initializer_list<TestClient*> readers) {
    for (int quiet = 0, turns = 0; quiet < 3; ++turns) {
      ASSERT_LT(turns, 10'000);
      bool moved = sessions_->has_work() || server_->has_work();
      ASSERT_TRUE(loop_.run_once(0));
      server_->run_turns();
      sessions_->turn();
      for (TestClient* reader : readers) moved |= reader->receive();
      quiet = moved ? 0 : quiet + 1;
    }
  }

  TemporaryDirectory directory_;
  const std::string path_ = (directory_.path() / "console.sock").string();
  ManualClock clock_, calendar_;
  FakeLink link_;
  std::unique_ptr<History> history_ = History::open(memory_file(), {8 * 1024, 1024 * 1024}).value();
  std::unique_ptr<Server> server_ = std::make_unique<Server>(link_, *history_, clock_, calendar_);
  EventLoop loop_ = EventLoop::create().value();
  std::unique_ptr<Sessions> sessions_ = Sessions::open(path_, *server_, loop_, calendar_).value();
  uint64_t incarnation_ = 0;
};

TEST_F(SessionsTest, PastComesFirstThenWhatIsNewThenTheEnd) {
  attach(1, "web");
  write(1, "before\n");
  const auto client = connect(to("web"));
  EXPECT_EQ(client->answer["domid"], 1);
  EXPECT_EQ(client->answer["name"], "web");
  write(1, "after\n");
  settle({client.get()});
  EXPECT_EQ(client->seen, "before\n<live>after\n");
  link_.guest(1).write("last\n");
  server_->detach({1, 0});
  settle({client.get()});
  EXPECT_EQ(client->seen, "before\n<live>after\nlast\n<end>");
  EXPECT_TRUE(client->is_closed);
  EXPECT_EQ(sessions_->clients(), 0u);
}

TEST_F(SessionsTest, ConsoleIsFoundByNameThenByDomid) {
  attach(1, "2");
  attach(2, "web");
  attach(2, "web", 3);
  EXPECT_EQ(connect(to("2"))->answer["domid"], 1) << "a name that looks like a domid";
  EXPECT_EQ(connect(to("1"))->answer["name"], "2");
  ClientRequest further = to("web");
  further.console = 3;
  EXPECT_EQ(connect(further)->answer["console"], 3);
  further.console = 4;
  EXPECT_EQ(connect(further)->answer["errno"], ENXIO);
  const auto refused = connect(to("mail"));
  EXPECT_EQ(refused->answer["errno"], ENOENT);
  EXPECT_THAT(refused->answer["error"].get<std::string>(), HasSubstr("mail"));
  EXPECT_TRUE(refused->is_closed);
}

TEST_F(SessionsTest, ReplayEndsWithThePast) {
  attach(1, "web");
  write(1, "one\n");
  ClientRequest request = to("web");
  request.follow = false;
  const auto client = connect(request);
  EXPECT_EQ(client->seen, "one\n<live>");
  EXPECT_TRUE(client->is_closed);
}

TEST_F(SessionsTest, SinceAndFromBeginWhereTheySay) {
  attach(1, "web");
  calendar_.advance_ns(1'000'000'000);
  write(1, "one\n");
  calendar_.advance_ns(1'000'000'000);
  write(1, "two\n");
  ClientRequest request = to("web");
  request.past = Past::kSince;
  request.since_ms = 1500;
  EXPECT_EQ(connect(request)->seen, "two\n<live>");
  request.past = Past::kFrom;
  request.from = 2;
  EXPECT_EQ(connect(request)->seen, "e\ntwo\n<live>");
  request.from = 1000;
  EXPECT_EQ(connect(request)->seen, "one\ntwo\n<live>") << "that was another domain's";
  request.past = Past::kNone;
  EXPECT_EQ(connect(request)->seen, "<live>");
}

TEST_F(SessionsTest, WhoReadsTooSlowlyLearnsHowMuchIsMissing) {
  attach(1, "web");
  const auto slow = connect(to("web"));
  const std::string line(1000, 'x');
  uint64_t written = 0;
  for (int i = 0; i < 3000; ++i) {
    write(1, line);
    written += line.size();
    settle({});
  }
  settle({slow.get()});
  EXPECT_THAT(slow->seen, HasSubstr("<missed>"));
  EXPECT_EQ(slow->texts[1].size() + slow->missed, written);
}

TEST_F(SessionsTest, InputReachesTheGuestAndWaitsForRoom) {
  attach(1, "web");
  const auto client = connect(to("web", true));
  EXPECT_TRUE(client->answer["writes"]);
  const std::string text(5000, 'k');  // more than the ring of 1,024
  ASSERT_TRUE(client->type(text));
  client->end_input();
  settle({client.get()});
  std::string taken;
  while (taken.size() < text.size()) {
    const bool all_in_ring = text.size() - taken.size() <= sizeof(xencons_interface::in);
    ASSERT_EQ(client->seen.find("<taken>") != std::string::npos, all_in_ring) << taken.size();
    const std::string part = link_.guest(1).read();
    ASSERT_FALSE(part.empty());
    taken += part;
    server_->on_event(FakeLink::port_of({1, 0}));
    settle({client.get()});
  }
  EXPECT_EQ(taken, text);
  EXPECT_THAT(client->seen, HasSubstr("<taken>"));
  EXPECT_FALSE(client->is_closed) << "it still reads";
  EXPECT_TRUE(connect(to("web", true))->answer["writes"]) << "and leaves writing to others";
}

TEST_F(SessionsTest, OneWritesUnlessForcedAndTheOtherIsTold) {
  attach(1, "web");
  const auto first = connect(to("web", true));
  const auto second = connect(to("web", true));
  EXPECT_FALSE(second->answer["writes"]);
  EXPECT_EQ(second->answer["writer_pid"], getpid());
  second->type("second");
  settle({first.get(), second.get()});
  EXPECT_EQ(link_.guest(1).read(), "");
  EXPECT_THAT(second->seen, HasSubstr("<notice>"));

  ClientRequest forced = to("web", true);
  forced.force = true;
  const auto third = connect(forced);
  EXPECT_TRUE(third->answer["writes"]);
  settle({first.get()});
  EXPECT_THAT(first->seen, HasSubstr("<notice>"));
  first->type("first");
  third->type("third");
  settle({first.get(), third.get()});
  EXPECT_EQ(link_.guest(1).read(), "third");
}

TEST_F(SessionsTest, WhenTheWriterLeavesTheNextOneWhoTypesWrites) {
  attach(1, "web");
  auto first = connect(to("web", true));
  const auto second = connect(to("web", true));
  first.reset();
  settle({second.get()});
  second->type("mine");
  settle({second.get()});
  EXPECT_EQ(link_.guest(1).read(), "mine");
}

TEST_F(SessionsTest, WhoOnlyReadsAndTypesIsHungUpOn) {
  attach(1, "web");
  const auto reader = connect(to("web"));
  const auto watcher = connect(all());
  reader->type("x");
  watcher->type("x");
  settle({reader.get(), watcher.get()});
  EXPECT_TRUE(reader->is_closed);
  EXPECT_TRUE(watcher->is_closed);
  EXPECT_EQ(link_.guest(1).read(), "");
}

TEST_F(SessionsTest, AllConsolesOfTheDomainsAskedForAreSeenAndThoseToCome) {
  attach(1, "web-1");
  attach(2, "db");
  attach(17, "mail");
  write(1, "old 1\n");
  write(2, "old 2\n");
  const auto client = connect(all({"web-*", "17"}));
  EXPECT_EQ(client->seen, "old 1\n<live>");
  attach(3, "web-3");
  write(2, "new 2\n");
  write(3, "new 3\n");
  write(17, "new 17\n");
  settle({client.get()});
  EXPECT_EQ(client->texts[1] + client->texts[2] + client->texts[3] + client->texts[17], "old 1\nnew 3\nnew 17\n");
  EXPECT_THAT(client->names, ElementsAre("web-1", "web-3", "mail"));
  server_->detach({3, 0});
  settle({client.get()});
  EXPECT_THAT(client->seen, HasSubstr("<end>"));
  attach(3, "web-4");
  write(3, "another\n");
  settle({client.get()});
  EXPECT_THAT(client->names, ElementsAre("web-1", "web-3", "mail", "web-4"));
}

TEST_F(SessionsTest, PastOfAllIsWhatThereWasWhenItWasAskedFor) {
  for (DomId domid = 1; domid <= 600; ++domid) {
    attach(domid, "guest-" + std::to_string(domid));
    write(domid, "hello\n");
  }
  ClientRequest request = all();
  request.follow = false;
  const auto client = connect(request);
  EXPECT_EQ(client->texts.size(), 600u);
  EXPECT_THAT(client->seen, ::testing::EndsWith("<live>"));
  EXPECT_TRUE(client->is_closed);
}

TEST_F(SessionsTest, WithoutThePastAConsoleThatAPredecessorKnewBeginsWhereWeCameIn) {
  calendar_.advance_ns(1'000'000'000);
  attach(1, "web");
  write(1, "long ago\n");
  calendar_.advance_ns(1'000'000'000);
  server_.reset();  // with its consoles, not with their streams
  sessions_.reset();
  server_ = std::make_unique<Server>(link_, *history_, clock_, calendar_);
  sessions_ = Sessions::open(path_, *server_, loop_, calendar_).value();
  ClientRequest request = all();
  request.past = Past::kNone;
  const auto client = connect(request);
  --incarnation_;
  attach(1, "web");
  write(1, "now\n");
  settle({client.get()});
  EXPECT_EQ(client->seen, "<live>now\n");
}

TEST_F(SessionsTest, WhoDoesNotReadWhileConsolesEndLearnsWhatIsMissing) {
  const auto deaf = connect(all());
  const std::string text(8000, 'x');
  uint64_t written = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto domid = static_cast<DomId>(1 + i % 100);
    attach(domid, "guest");
    write(domid, text);
    written += text.size();
    server_->detach({domid, 0});
    sessions_->turn();
  }
  settle({deaf.get()});
  EXPECT_FALSE(deaf->is_closed);
  EXPECT_GT(deaf->missed, 0u) << "of all that was written a part is kept for him";
  uint64_t seen = deaf->missed;
  for (const auto& [domid, part] : deaf->texts) seen += part.size();
  EXPECT_EQ(seen, written);
}

TEST_F(SessionsTest, WhoNeverReadsIsLetGo) {
  const auto deaf = connect(all());
  constexpr uint64_t kFramesOfAnEnd = 3 * sizeof(FrameHeader);
  for (uint64_t i = 0; i < Output::kMost / kFramesOfAnEnd + 1000 && sessions_->clients() != 0; ++i) {
    attach(1, "guest");
    write(1, "x");
    server_->detach({1, 0});
    ASSERT_TRUE(loop_.run_once(0));
    sessions_->turn();
  }
  EXPECT_EQ(sessions_->clients(), 0u);
}

TEST_F(SessionsTest, WriterToAConsoleThatIsGoneKeepsNobodyFromTheNext) {
  attach(1, "web");
  const auto deaf = connect(to("web", true));
  // More than his socket holds, so that he stays.
  const std::string text(4000, 'x');
  for (int i = 0; i < 300; ++i) {
    write(1, text);
    settle({});
  }
  server_->detach({1, 0});
  settle({});
  ASSERT_EQ(sessions_->clients(), 1u);
  attach(1, "web");
  EXPECT_TRUE(connect(to("web", true))->answer["writes"]);
}

TEST_F(SessionsTest, WhatTheFormerWriterHadTypedIsNotMixedWithTheNextOnes) {
  attach(1, "web");
  const auto former = connect(to("web", true));
  former->type(std::string(3000, 'f'));
  settle({former.get()});
  ClientRequest forced = to("web", true);
  forced.force = true;
  const auto next = connect(forced);
  next->type("n");
  settle({next.get()});
  std::string taken;
  for (std::string part; part = link_.guest(1).read(), !part.empty(); taken += part) {
    server_->on_event(FakeLink::port_of({1, 0}));
    settle({former.get(), next.get()});
  }
  EXPECT_EQ(taken, std::string(sizeof(xencons_interface::in), 'f') + "n");
}

TEST_F(SessionsTest, NonsenseIsRefusedAndItsSenderHungUpOn) {
  attach(1, "web");
  for (const std::string& nonsense : {std::string("hello\n"), std::string("{\"op\":\"attach\"}\n"),
                                      std::string(1, '\n'), std::string(20'000, 'x'), std::string(8000, '[') + "\n"}) {
    TestClient client(path_);
    client.send(nonsense);
    settle({&client});
    EXPECT_EQ(client.answer["ok"], false) << nonsense.substr(0, 20);
    EXPECT_TRUE(client.is_closed);
  }
  const auto client = connect(to("web", true));
  FrameHeader header{};
  header.kind = FrameKind::kInput;
  header.bytes = 0xffffffff;
  client->send(std::string_view(reinterpret_cast<const char*>(&header), sizeof header));
  settle({client.get()});
  EXPECT_TRUE(client->is_closed);
  EXPECT_EQ(sessions_->clients(), 0u);
}

TEST_F(SessionsTest, RequestMayComeByteByByteWithInputBehindIt) {
  attach(1, "web");
  TestClient client(path_);
  std::string bytes = to_line(to("web", true));
  FrameHeader header{};
  header.kind = FrameKind::kInput;
  append_frame(bytes, header, "ls\n");
  for (const char byte : bytes) {
    client.send(std::string_view(&byte, 1));
    settle({&client});
  }
  EXPECT_EQ(link_.guest(1).read(), "ls\n");
}

TEST_F(SessionsTest, ThereIsALimitOfWatchers) {
  std::vector<std::unique_ptr<TestClient>> watchers;
  for (size_t i = 0; i < Sessions::kMostWatchers; ++i) {
    watchers.push_back(connect(all()));
    ASSERT_EQ(watchers.back()->answer["ok"], true);
  }
  EXPECT_EQ(connect(all())->answer["errno"], EUSERS);
  watchers.pop_back();
  settle({});
  EXPECT_EQ(connect(all())->answer["ok"], true);
}

TEST_F(SessionsTest, QuietClientCostsNoTurn) {
  attach(1, "web");
  const auto one = connect(to("web", true));
  const auto every = connect(all());
  settle({one.get(), every.get()});
  EXPECT_FALSE(sessions_->has_work());
  one->end_input();
  settle({one.get(), every.get()});
  ASSERT_TRUE(loop_.run_once(0));
  EXPECT_FALSE(sessions_->has_work()) << "the end of its input wakes nobody again";
}

}  // namespace
}  // namespace xenopolis::console
