#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>

#include "toolstack/control_client.h"
#include "toolstack/control_server.h"
#include "toolstack/process.h"
#include "toolstack/unix_socket.h"

namespace xenopolis::toolstack {
namespace {

class ControlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string directory = ::testing::TempDir() + "control-XXXXXX";
    ASSERT_NE(mkdtemp(directory.data()), nullptr);
    directory_ = directory;
    path_ = directory_ + "/socket";
    server_ =
        ControlServer::listen(loop_, path_, [this](ControlServer::ClientId client, const nlohmann::json& request) {
          handle(client, request);
        }).value();
    client_ = ControlClient::connect(loop_, path_, 0).value();
  }
  void TearDown() override {
    client_.reset();
    server_.reset();
    rmdir(directory_.c_str());
  }

  void handle(ControlServer::ClientId client, const nlohmann::json& request) {
    const std::string op = request["op"];
    if (op == "echo") server_->reply(client, request, {{"text", request.at("text")}});
    if (op == "number") server_->reply(client, request, {{"number", request.at("number").get<int>() + 1}});
    if (op == "refuse") server_->refuse(client, request, Error{ENOENT, "no such thing"});
    if (op == "subscribe") {
      server_->subscribe(client);
      server_->reply(client, request, nlohmann::json::object());
      server_->publish({{"event", "news"}});
    }
    if (op == "hold") held_.emplace_back(client, request);
  }

  // Sends raw bytes as a client without manners and returns the line that comes back; empty: disconnected.
  std::string raw(const std::string& bytes) {
    const Fd socket = connect_unix(path_, SOCK_STREAM, 0).value();
    EXPECT_EQ(send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    std::string answer;
    for (int turn = 0; turn < 20; ++turn) {
      EXPECT_TRUE(loop_.run_once(10));
      char buffer[4096];
      const ssize_t got = recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (got == 0) return "";
      if (got > 0) answer.append(buffer, static_cast<size_t>(got));
      if (answer.find('\n') != std::string::npos) break;
    }
    return answer;
  }

  EventLoop loop_ = EventLoop::create().value();
  std::string directory_;
  std::string path_;
  std::unique_ptr<ControlServer> server_;
  std::unique_ptr<ControlClient> client_;
  std::vector<std::pair<ControlServer::ClientId, nlohmann::json>> held_;
};

TEST_F(ControlTest, AnswerComesBackToItsRequest) {
  EXPECT_EQ(client_->ask({{"op", "echo"}, {"text", "hello"}}).value()["text"], "hello");
}

TEST_F(ControlTest, RefusalCarriesErrnoAndReason) {
  const auto answer = client_->ask({{"op", "refuse"}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ENOENT);
  EXPECT_EQ(answer.error().what, "no such thing");
}

TEST_F(ControlTest, AnswersMayComeInAnotherOrder) {
  std::vector<int> order;
  client_->request({{"op", "hold"}}, [&](const auto&) { order.push_back(1); });
  client_->request({{"op", "hold"}}, [&](const auto&) { order.push_back(2); });
  while (held_.size() < 2) ASSERT_TRUE(loop_.run_once(100));
  server_->reply(held_[1].first, held_[1].second, nlohmann::json::object());
  server_->reply(held_[0].first, held_[0].second, nlohmann::json::object());
  while (order.size() < 2) ASSERT_TRUE(loop_.run_once(100));
  EXPECT_EQ(order, (std::vector<int>{2, 1}));
}

TEST_F(ControlTest, SubscriberHearsEvents) {
  std::string heard;
  client_->on_event([&](const nlohmann::json& event) { heard = event["event"]; });
  ASSERT_TRUE(client_->ask({{"op", "subscribe"}}));
  while (heard.empty()) ASSERT_TRUE(loop_.run_once(100));
  EXPECT_EQ(heard, "news");
}

TEST_F(ControlTest, MalformedRequestsAreRefusedAndTheClientStays) {
  for (const char* bytes : {"garbage\n", "[]\n", "{\"op\":3}\n", "{}\n", "\n", "{\"op\":\"number\",\"number\":\"x\"}\n",
                            "{\"op\":\"number\"}\n", "\xff\xfe\n"}) {
    const nlohmann::json answer = nlohmann::json::parse(raw(bytes), nullptr, false);
    EXPECT_EQ(answer.value("ok", true), false) << bytes;
  }
  EXPECT_EQ(client_->ask({{"op", "number"}, {"number", 1}}).value()["number"], 2);
}

TEST_F(ControlTest, EndlessLineIsCutOff) {
  EXPECT_EQ(raw(std::string(200 * 1024, 'x')), "");
  EXPECT_TRUE(client_->ask({{"op", "echo"}, {"text", "still here"}}));
}

TEST_F(ControlTest, RequestsUnderWayFailWhenTheServerGoes) {
  std::optional<int> error;
  client_->request({{"op", "hold"}}, [&](const auto& answer) { error = answer.error().code; });
  while (held_.empty()) ASSERT_TRUE(loop_.run_once(100));
  server_.reset();
  while (!error) ASSERT_TRUE(loop_.run_once(100));
  EXPECT_EQ(*error, EPIPE);
}

TEST_F(ControlTest, SecondServerOnTheSamePathIsRefused) {
  const auto second = ControlServer::listen(loop_, path_, [](auto, const auto&) {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EADDRINUSE);
}

TEST(ProcessTest, ChildGetsItsDescriptorsInOrderWhateverTheirNumbers) {
  int first[2];
  int second[2];
  ASSERT_EQ(pipe(first), 0);
  ASSERT_EQ(pipe(second), 0);
  // Descriptors 3 and 4 of the child; both numbers are likely in use here, for other things.
  auto child = Process::spawn("/bin/sh", {"-c", "echo third >&3; echo fourth >&4"}, {second[1], first[1]});
  ASSERT_TRUE(child);
  char buffer[16] = {};
  ASSERT_GT(read(second[0], buffer, sizeof buffer), 0);
  EXPECT_STREQ(buffer, "third\n");
  std::memset(buffer, 0, sizeof buffer);
  ASSERT_GT(read(first[0], buffer, sizeof buffer), 0);
  EXPECT_STREQ(buffer, "fourth\n");
  EXPECT_EQ(child->reap(), "exited with status 0");
  for (const int fd : {first[0], first[1], second[0], second[1]}) close(fd);
}

TEST(ProcessTest, KillingSignalIsTold) {
  auto child = Process::spawn("/bin/sleep", {"30"}, {});
  ASSERT_TRUE(child);
  child->signal(SIGKILL);
  EXPECT_EQ(child->reap(), "killed by signal 9 (Killed)");
}

TEST(ProcessTest, MissingProgramIsAnError) {
  const auto child = Process::spawn("/nonexistent/program", {}, {});
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code, ENOENT);
}

TEST(ProcessTest, ExitStatusIsTold) {
  auto child = Process::spawn("/bin/sh", {"-c", "exit 3"}, {});
  ASSERT_TRUE(child);
  EXPECT_EQ(child->reap(), "exited with status 3");
}

}  // namespace
}  // namespace xenopolis::toolstack
