#include "console/control.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "console/testing/fake_guest.h"
#include "console/testing/memory_file.h"
#include "console/testing/recorder.h"

namespace xenopolis::console {
namespace {

class ControlTest : public testing::Test {
 protected:
  ControlTest() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    polisd_ = Fd(ends[0]);
    control_.emplace(Fd(ends[1]), server_);
    server_.add_viewer(recorder_);
  }

  void request(ConsoleRequestKind kind, DomId domid, const char* name = "", Port port = 1) {
    ConsoleRequest message{};
    message.kind = kind;
    message.console = {domid, 0};
    message.remote_port = port;
    std::memcpy(message.name, name, std::min(std::strlen(name), sizeof message.name));
    ASSERT_EQ(send(polisd_.get(), &message, sizeof message, MSG_DONTWAIT), static_cast<ssize_t>(sizeof message));
  }
  ConsoleReply reply() {
    ConsoleReply message{};
    EXPECT_EQ(recv(polisd_.get(), &message, sizeof message, MSG_DONTWAIT), static_cast<ssize_t>(sizeof message));
    return message;
  }

  ManualClock clock_;
  FakeLink link_;
  std::unique_ptr<History> history_ = History::open(memory_file()).value();
  Recorder recorder_;
  Server server_{link_, *history_, clock_, clock_};
  Fd polisd_;
  std::optional<Control> control_;
};

TEST_F(ControlTest, RequestsAreAnsweredInOrder) {
  request(ConsoleRequestKind::kAttach, 7, "seven");
  request(ConsoleRequestKind::kDetach, 7);
  ASSERT_TRUE(control_->serve().value());
  const ConsoleReply attached = reply();
  EXPECT_EQ(attached.kind, ConsoleReplyKind::kAttached);
  EXPECT_EQ(attached.console.domid, 7);
  EXPECT_EQ(reply().kind, ConsoleReplyKind::kDetached);
  EXPECT_EQ(link_.detached.size(), 1u);
}

TEST_F(ControlTest, FailureIsAnsweredWithItsErrno) {
  request(ConsoleRequestKind::kAttach, 7, "a/b");
  request(ConsoleRequestKind::kAttach, 8, "eight", 0);
  ASSERT_TRUE(control_->serve().value());
  for (const int error : {EINVAL, EINVAL}) {
    const ConsoleReply failed = reply();
    EXPECT_EQ(failed.kind, ConsoleReplyKind::kAttachFailed);
    EXPECT_EQ(failed.error, error);
  }
}

TEST_F(ControlTest, DetachingWhatWasNeverAttachedIsAnsweredToo) {
  request(ConsoleRequestKind::kDetach, 3);
  ASSERT_TRUE(control_->serve().value());
  EXPECT_EQ(reply().kind, ConsoleReplyKind::kDetached);
}

TEST_F(ControlTest, NameWithoutItsNulEndsWithTheField) {
  const std::string name(sizeof ConsoleRequest::name, 'n');
  request(ConsoleRequestKind::kAttach, 7, name.c_str());
  ASSERT_TRUE(control_->serve().value());
  link_.guest(7).write("x");
  server_.run_turns();
  EXPECT_EQ(recorder_.said[name], "x");
}

TEST_F(ControlTest, EndOfPolisdIsSeenAndAWrongSizeIsAnError) {
  ASSERT_EQ(send(polisd_.get(), "abc", 3, 0), 3);
  EXPECT_EQ(control_->serve().error().code, EPROTO);
  request(static_cast<ConsoleRequestKind>(77), 9);
  EXPECT_EQ(control_->serve().error().code, EPROTO);
  polisd_.reset();
  EXPECT_FALSE(control_->serve().value());
}

TEST_F(ControlTest, TurnIsBounded) {
  for (DomId domid = 0; domid < 100; ++domid) request(ConsoleRequestKind::kDetach, domid);
  ASSERT_TRUE(control_->serve().value());
  ASSERT_TRUE(control_->serve().value());
  for (DomId domid = 0; domid < 100; ++domid) EXPECT_EQ(reply().console.domid, domid);
}

}  // namespace
}  // namespace xenopolis::console
