#include "base/acceptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

#include "base/log.h"
#include "base/unix_socket.h"

namespace xenopolis {
namespace {

class AcceptorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    acceptor_ = Acceptor::start(loop_, listen_unix(path_, SOCK_STREAM).value(), [this](Fd client) {
                  clients_.push_back(std::move(client));
                }).value();
  }
  void TearDown() override { unlink(path_.c_str()); }

  const std::string path_ = ::testing::TempDir() + "acceptor_" + std::to_string(getpid());
  EventLoop loop_ = EventLoop::create().value();
  std::vector<Fd> clients_;
  std::unique_ptr<Acceptor> acceptor_;
};

TEST_F(AcceptorTest, ManyClientsAreTakenAFewAtATime) {
  std::vector<Fd> ours;
  for (unsigned i = 0; i < Acceptor::kClientsPerTurn + 10; ++i) {
    ours.push_back(connect_unix(path_, SOCK_STREAM, 0).value());
  }
  ASSERT_TRUE(loop_.run_once(0));
  EXPECT_EQ(clients_.size(), Acceptor::kClientsPerTurn);
  ASSERT_TRUE(loop_.run_once(0));
  EXPECT_EQ(clients_.size(), ours.size());
}

TEST_F(AcceptorTest, WithoutDescriptorsClientsWaitAndTheLoopSleepsForAWhile) {
  const Fd ours = connect_unix(path_, SOCK_STREAM, 0).value();
  // What speaks for the first time takes more: UBSan opens a pipe to look at an object of a type that it has not met.
  log::warn("soon without descriptors");
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const Fd lowest_free(fcntl(ours.get(), F_DUPFD_CLOEXEC, 0));
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(lowest_free.get()) + 1;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  static int tries = 0;
  log::set_listener([](const log::Entry&) { ++tries; });  // each is told
  for (int turn = 0; turn < 10; ++turn) ASSERT_TRUE(loop_.run_once(0));
  log::set_listener(nullptr);
  EXPECT_EQ(tries, 1);
  EXPECT_TRUE(clients_.empty());
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  while (clients_.empty()) ASSERT_TRUE(loop_.run_once(-1));
}

}  // namespace
}  // namespace xenopolis
