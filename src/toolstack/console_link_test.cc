// polisd's line to a polis-consoled that is played here, and that dies.
#include "toolstack/console_link.h"

#include <gmock/gmock.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>
#include <vector>

#include "toolstack/unix_socket.h"

namespace xenopolis::toolstack {
namespace {

using console::ConsoleId;
using console::ConsoleReply;
using console::ConsoleReplyKind;
using console::ConsoleRequest;
using console::ConsoleRequestKind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr ConsoleId kFirst{7, 0}, kSecond{7, 1};

class ConsoleLinkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    link_.on_terminal(
        [this](ConsoleId id, const std::string& path) { terminals_.push_back(std::to_string(id.index) + " " + path); });
    start_daemon();
  }
  // A new one; the last is dead.
  void start_daemon() {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    daemon_ = Fd(ends[1]);
    ASSERT_TRUE(link_.connect(Fd(ends[0])));
  }
  void attach(ConsoleId id) {
    ConsoleRequest request{};
    request.console = id;
    request.incarnation = 42;
    link_.attach(request, [this](const Status& status) { answers_.push_back(status ? "attached" : "refused"); });
  }
  void detach(ConsoleId id) {
    link_.detach(id, [this](const Status&) { answers_.push_back("detached"); });
  }
  // What the daemon hears: "attach 0".
  std::vector<std::string> heard() {
    std::vector<std::string> all;
    ConsoleRequest request;
    while (recv(daemon_.get(), &request, sizeof request, MSG_DONTWAIT) == ssize_t{sizeof request}) {
      const char* kind = request.kind == ConsoleRequestKind::kAttach   ? "attach "
                         : request.kind == ConsoleRequestKind::kDetach ? "detach "
                                                                       : "open ";
      EXPECT_EQ(request.incarnation, request.kind == ConsoleRequestKind::kAttach ? 42u : 0u);
      all.push_back(kind + std::to_string(request.console.index));
    }
    return all;
  }
  void say(ConsoleReplyKind kind, ConsoleId id, int error = 0, const char* path = "") {
    ConsoleReply reply{kind, id, error, {}};
    std::strncpy(reply.path, path, sizeof reply.path - 1);
    ASSERT_EQ(send(daemon_.get(), &reply, sizeof reply, 0), ssize_t{sizeof reply});
    ASSERT_TRUE(loop_.run_once(0));
  }

  EventLoop loop_{EventLoop::create().value()};
  ConsoleLink link_{loop_};
  Fd daemon_;
  std::vector<std::string> answers_, terminals_;
};

TEST_F(ConsoleLinkTest, EachIsAnsweredOnce) {
  attach(kFirst);
  attach(kFirst);
  EXPECT_THAT(answers_, ElementsAre("refused"));
  EXPECT_THAT(heard(), ElementsAre("attach 0"));
  say(ConsoleReplyKind::kAttached, kFirst);
  say(ConsoleReplyKind::kAttached, kFirst);
  EXPECT_THAT(answers_, ElementsAre("refused", "attached"));
  detach(kFirst);
  detach(kFirst);
  EXPECT_THAT(heard(), ElementsAre("detach 0"));
  say(ConsoleReplyKind::kDetached, kFirst);
  EXPECT_THAT(answers_, ElementsAre("refused", "attached", "detached", "detached"));
  detach(kFirst);
  EXPECT_THAT(heard(), IsEmpty());
  EXPECT_EQ(answers_.size(), 5u) << "at once: nobody has it";
}

TEST_F(ConsoleLinkTest, ConsoleThatCannotBeAttachedIsForgotten) {
  attach(kFirst);
  say(ConsoleReplyKind::kAttachFailed, kFirst, EINVAL);
  EXPECT_THAT(answers_, ElementsAre("refused"));
  start_daemon();
  EXPECT_THAT(heard(), IsEmpty());
  attach(kFirst);
  EXPECT_THAT(heard(), ElementsAre("attach 0"));
}

TEST_F(ConsoleLinkTest, SuccessorIsToldAllConsolesAndWhatWasNotAnswered) {
  attach(kFirst);
  attach(kSecond);
  say(ConsoleReplyKind::kAttached, kFirst);
  heard();
  start_daemon();
  EXPECT_THAT(heard(), UnorderedElementsAre("attach 0", "attach 1"));
  say(ConsoleReplyKind::kAttached, kFirst);
  say(ConsoleReplyKind::kAttached, kSecond);
  EXPECT_THAT(answers_, ElementsAre("attached", "attached"));
}

TEST_F(ConsoleLinkTest, DetachmentThatWasNotAnsweredIsMadeByTheSuccessor) {
  attach(kFirst);
  say(ConsoleReplyKind::kAttached, kFirst);
  detach(kFirst);
  start_daemon();
  EXPECT_THAT(heard(), ElementsAre("attach 0", "detach 0")) << "what is in the ring is taken";
  say(ConsoleReplyKind::kAttached, kFirst);
  say(ConsoleReplyKind::kDetached, kFirst);
  EXPECT_THAT(answers_, ElementsAre("attached", "detached"));
  // Also when there is nothing to attach to any more.
  attach(kSecond);
  detach(kSecond);
  start_daemon();
  say(ConsoleReplyKind::kAttachFailed, kSecond, ENOENT);
  say(ConsoleReplyKind::kDetached, kSecond);
  EXPECT_THAT(answers_, ElementsAre("attached", "detached", "refused", "detached"));
}

TEST_F(ConsoleLinkTest, EndWaitsForWhoReadsATerminal) {
  attach(kFirst);
  attach(kSecond);
  for (const ConsoleId id : {kFirst, kSecond}) {
    say(ConsoleReplyKind::kAttached, id);
    link_.open_terminal(id);
    say(ConsoleReplyKind::kTerminalOpened, id, 0, "/dev/pts/5");
    link_.end(id, [this](const Status&) { answers_.push_back("ended"); });
    say(ConsoleReplyKind::kDetached, id);
  }
  EXPECT_THAT(answers_, ElementsAre("attached", "attached"));
  say(ConsoleReplyKind::kTerminalClosed, kFirst);
  EXPECT_THAT(answers_, ElementsAre("attached", "attached", "ended"));
  heard();
  start_daemon();
  EXPECT_THAT(heard(), IsEmpty());
  EXPECT_THAT(answers_, ElementsAre("attached", "attached", "ended", "ended")) << "its terminal is dead";
}

TEST_F(ConsoleLinkTest, TerminalIsToldWhenItChanges) {
  link_.open_terminal(kFirst);
  EXPECT_THAT(heard(), IsEmpty()) << "there is no such console";
  attach(kFirst);
  link_.open_terminal(kFirst);
  EXPECT_THAT(heard(), ElementsAre("attach 0", "open 0"));
  say(ConsoleReplyKind::kTerminalOpened, kFirst, 0, "/dev/pts/5");
  say(ConsoleReplyKind::kTerminalOpened, kFirst, 0, "/dev/pts/5");
  say(ConsoleReplyKind::kTerminalClosed, kFirst);
  say(ConsoleReplyKind::kTerminalOpened, kFirst, 0, "/dev/pts/5");
  EXPECT_THAT(terminals_, ElementsAre("0 /dev/pts/5", "0 ", "0 /dev/pts/5"));
}

TEST_F(ConsoleLinkTest, OpenTerminalIsOpenedByTheSuccessorAndToldEvenIfItsNameIsTheSame) {
  attach(kFirst);
  attach(kSecond);
  link_.open_terminal(kFirst);
  link_.open_terminal(kSecond);
  say(ConsoleReplyKind::kTerminalOpened, kFirst, 0, "/dev/pts/5");
  say(ConsoleReplyKind::kTerminalOpened, kSecond, 0, "/dev/pts/6");
  say(ConsoleReplyKind::kTerminalClosed, kSecond);
  start_daemon();
  EXPECT_THAT(heard(), UnorderedElementsAre("attach 0", "attach 1", "open 0"));
  terminals_.clear();
  say(ConsoleReplyKind::kTerminalOpened, kFirst, 0, "/dev/pts/5");
  EXPECT_THAT(terminals_, ElementsAre("0 /dev/pts/5"));
  terminals_.clear();
  start_daemon();
  say(ConsoleReplyKind::kTerminalOpened, kFirst, EMFILE);
  EXPECT_THAT(terminals_, ElementsAre("0 ")) << "its name has to go";
}

}  // namespace
}  // namespace xenopolis::toolstack
