// polis console and polis consoles, against a host with hosted domains.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "client_process.h"
#include "live_host.h"

namespace xenopolis::toolstack {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using xenopolis::testing::ClientProcess;
using Where = ClientProcess::Where;

constexpr const char* kLeave = "\x1d";  // Ctrl-]

class ConsoleClientTest : public ::testing::Test {
 protected:
  // A guest that says "ready", and each line again.
  void create_echo(const std::string& name, uint32_t consoles = 0) {
    const auto created = host_.create(name, "echo", {{"consoles", consoles}});
    ASSERT_TRUE(created) << created.error().message();
  }
  std::unique_ptr<ClientProcess> polis(Where where, std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--run-dir", host_.directory()});
    return std::make_unique<ClientProcess>(where, std::move(arguments));
  }
  std::unique_ptr<ClientProcess> console(Where where, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "console");
    return polis(where, std::move(arguments));
  }
  std::unique_ptr<ClientProcess> consoles(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "consoles");
    return polis(Where::kPipes, std::move(arguments));
  }
  // Says `lines` to a domain and waits for its answer to the last.
  void say(const std::string& name, const std::string& line) {
    const auto client = console(Where::kPipes, {name});
    client->type(line + "\n");
    EXPECT_TRUE(client->shows("you said: " + line)) << client->output() << client->errors();
  }
  void kill_consoled() {
    const pid_t consoled = host_.pid_of("polis-consoled");
    ASSERT_NE(consoled, 0);
    kill(consoled, SIGKILL);
  }

  testing::LiveHost host_;
};

TEST_F(ConsoleClientTest, PersonSeesThePastTypesAndLeaves) {
  create_echo("web");
  const auto client = console(Where::kTerminal, {"web"});
  ASSERT_TRUE(client->shows("Ctrl-] leaves")) << client->output();
  ASSERT_TRUE(client->shows("ready")) << client->output();
  EXPECT_TRUE(client->is_raw());
  client->type("hello\r");
  EXPECT_TRUE(client->shows("you said: hello")) << client->output();
  client->type(kLeave);
  EXPECT_EQ(client->wait(), 0);
  EXPECT_FALSE(client->is_raw());
}

TEST_F(ConsoleClientTest, TerminalIsItselfAgainWhateverEndsTheClient) {
  create_echo("web");
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    const auto client = console(Where::kTerminal, {"web"});
    ASSERT_TRUE(client->shows("ready")) << client->output();
    EXPECT_TRUE(client->is_raw());
    client->signal(number);
    EXPECT_EQ(client->wait(), 128 + number);
    EXPECT_FALSE(client->is_raw()) << number;
  }
  const auto halfway = console(Where::kHalfway, {"web"});
  ASSERT_TRUE(halfway->shows("ready"));
  EXPECT_TRUE(halfway->is_raw());
  halfway->close_output();
  EXPECT_EQ(halfway->wait(), 128 + SIGPIPE) << "as any program whose reader has gone";
  EXPECT_FALSE(halfway->is_raw());
}

TEST_F(ConsoleClientTest, PastAsksTheTerminalNothingAndGuestsThatKnowNoTerminalAreLegible) {
  create_echo("web");
  const auto first = console(Where::kTerminal, {"web"});
  ASSERT_TRUE(first->shows("ready\r\n")) << "the guest has written a newline only: " << first->output();
  // "Where is the cursor?"
  first->type("\x1b[6n?\r");
  ASSERT_TRUE(first->shows("you said: \x1b[6n?")) << "while it is asked, the terminal may answer: " << first->output();
  const auto second = console(Where::kTerminal, {"web"});
  ASSERT_TRUE(second->shows("you said: ?")) << second->output();
}

TEST_F(ConsoleClientTest, StoppedClientGivesTheTerminalBackAndTakesItAgain) {
  create_echo("web");
  const auto client = console(Where::kTerminal, {"web"});
  ASSERT_TRUE(client->shows("ready"));
  client->signal(SIGTSTP);
  EXPECT_TRUE(client->becomes([&] { return !client->is_raw(); }));
  client->signal(SIGCONT);
  EXPECT_TRUE(client->becomes([&] { return client->is_raw(); }));
  client->type("again\r");
  EXPECT_TRUE(client->shows("you said: again")) << client->output();
}

TEST_F(ConsoleClientTest, PipesCarryWhatTheyAreGivenAndAreReadOnAfterTheEndOfTheInput) {
  create_echo("web");
  auto client = console(Where::kPipes, {"web", "--quit-after", "0.05"});
  client->type(
      "a\x1d"
      "b\n");
  client->end_input();
  EXPECT_EQ(client->wait(), 0) << client->errors();
  const auto reader = console(Where::kPipes, {"web"});
  reader->end_input();
  ASSERT_TRUE(
      reader->shows("you said: a\x1d"
                    "b"))
      << "Ctrl-] is a byte like others there: " << reader->output();
  say("web", "later");
  EXPECT_TRUE(reader->shows("you said: later"));
  say("web", "quit soon");
  const auto last = console(Where::kPipes, {"web"});
  last->type("quit\n");
  EXPECT_EQ(last->wait(), 0) << "the domain has ended";
  EXPECT_EQ(reader->wait(), 0);
}

TEST_F(ConsoleClientTest, ReplayPrintsThePastAndFollowOnlyReads) {
  create_echo("web");
  say("web", "one");
  const auto replay = console(Where::kPipes, {"web", "--replay"});
  EXPECT_EQ(replay->wait(), 0);
  EXPECT_THAT(replay->output(), HasSubstr("you said: one"));
  const auto nothing = console(Where::kPipes, {"1", "--replay", "--since", "0s"});
  EXPECT_EQ(nothing->wait(), 0);
  EXPECT_EQ(nothing->output(), "");
  const auto follow = console(Where::kTerminal, {"web", "--follow"});
  ASSERT_TRUE(follow->shows("you said: one"));
  EXPECT_FALSE(follow->is_raw());
  say("web", "two");
  EXPECT_TRUE(follow->shows("you said: two"));
}

TEST_F(ConsoleClientTest, FurtherConsoleIsAttachedByItsNumber) {
  create_echo("web", 1);
  const auto client = console(Where::kPipes, {"web", "--console", "1"});
  // It becomes a console when the guest has connected it.
  client->type("hello\n");
  EXPECT_TRUE(client->shows("you said: hello")) << client->output() << client->errors();
}

TEST_F(ConsoleClientTest, OneWritesUnlessForced) {
  create_echo("web");
  const auto first = console(Where::kTerminal, {"web"});
  ASSERT_TRUE(first->shows("ready"));
  const auto script = console(Where::kPipes, {"web"});
  EXPECT_EQ(script->wait(), 1) << "a script whose input nobody gets is told so";
  EXPECT_THAT(script->errors(), HasSubstr("process " + std::to_string(first->pid()) + " writes"));
  const auto second = console(Where::kTerminal, {"web"});
  EXPECT_TRUE(second->shows("you only read")) << second->output();
  const auto third = console(Where::kTerminal, {"web", "--force"});
  EXPECT_TRUE(first->shows("process " + std::to_string(third->pid()) + " writes")) << first->output();
  first->type("lost\r");
  third->type("mine\r");
  EXPECT_TRUE(second->shows("you said: mine"));
  EXPECT_THAT(second->output(), Not(HasSubstr("lost")));
}

TEST_F(ConsoleClientTest, EndOfTheDomainIsToldAndIsNoError) {
  create_echo("web");
  const auto client = console(Where::kTerminal, {"web"});
  ASSERT_TRUE(client->shows("ready"));
  client->type("quit\r");
  EXPECT_TRUE(client->shows("web has ended")) << client->output();
  EXPECT_EQ(client->wait(), 0);
  EXPECT_FALSE(client->is_raw());
}

TEST_F(ConsoleClientTest, DomainCreatedWithItsConsoleIsSeenFromItsFirstWordToItsLast) {
  for (int i = 0; i < 10; ++i) {
    const auto client =
        polis(Where::kPipes, {"create", "-qc", "name=brief", "kernel=" XENOPOLIS_GUEST_DIR "/hello", "memory=4"});
    client->end_input();
    EXPECT_EQ(client->wait(), 0) << client->errors();
    EXPECT_THAT(client->output(), AllOf(StartsWith("hello from xen-3.0-x86_64"), HasSubstr("PASS hello")));
  }
}

TEST_F(ConsoleClientTest, KilledDaemonIsNotNoticed) {
  create_echo("web");
  const auto client = console(Where::kTerminal, {"web"});
  const auto watcher = consoles({"--tail", "--since", "1h"});
  ASSERT_TRUE(client->shows("ready"));
  client->type("first\r");
  ASSERT_TRUE(client->shows("you said: first"));
  ASSERT_TRUE(watcher->shows("web: you said: first"));
  for (int i = 0; i < 3; ++i) {
    kill_consoled();
    const std::string line = "line " + std::to_string(i);
    // What is typed into the dying daemon's socket is lost.
    for (int tries = 0; tries < 50 && client->output().find("you said: " + line) == std::string::npos; ++tries) {
      client->type(line + "\r");
      client->becomes([&, slept = 0]() mutable {
        return client->output().find("you said: " + line) != std::string::npos || ++slept > 20;
      });
    }
    ASSERT_TRUE(client->shows("you said: " + line)) << client->output();
    ASSERT_TRUE(watcher->shows("web: you said: " + line)) << watcher->output() << watcher->errors();
  }
  for (const ClientProcess* process : {client.get(), watcher.get()}) {
    const std::string& output = process->output();
    EXPECT_EQ(output.find("you said: first"), output.rfind("you said: first")) << "nothing is shown twice:" << output;
    EXPECT_THAT(output, Not(HasSubstr("dropped")));
  }
}

TEST_F(ConsoleClientTest, WhatCannotBeSaysWhy) {
  create_echo("web");
  const auto unknown = console(Where::kPipes, {"mail"});
  EXPECT_EQ(unknown->wait(), 1);
  EXPECT_EQ(unknown->errors(), "polis console: no domain mail, but web\n");
  const auto no_console = console(Where::kPipes, {"web", "-n", "7"});
  EXPECT_EQ(no_console->wait(), 1);
  EXPECT_THAT(no_console->errors(), HasSubstr("no console 7"));
  ClientProcess no_host(Where::kPipes, {"console", "web", "--run-dir", host_.directory() + "/none"});
  EXPECT_EQ(no_host.wait(), 1);
  EXPECT_THAT(no_host.errors(), HasSubstr("no host in " + host_.directory() + "/none"));
  const auto when = console(Where::kPipes, {"web", "--since", "soon"});
  EXPECT_EQ(when->wait(), 1);
  EXPECT_THAT(when->errors(), HasSubstr("\"soon\" is no time"));
  ClientProcess nobody(Where::kPipes, {"console"});
  EXPECT_EQ(nobody.wait(), 2);
  const auto expression = consoles({"--grep", "a("});
  EXPECT_EQ(expression->wait(), 2);
  EXPECT_THAT(expression->errors(), HasSubstr("missing )"));
}

TEST_F(ConsoleClientTest, AllConsolesAreSearchedAtOnce) {
  create_echo("web-1");
  create_echo("web-2");
  create_echo("db");
  say("web-1", "error 17");
  say("db", "error 4");
  say("web-2", "all is well");
  const auto search = consoles({"--grep", "^error \\d+$"});
  EXPECT_EQ(search->wait(), 0);
  EXPECT_EQ(search->output(), "web-1: error 17\ndb: error 4\n") << "in the order in which they were written";
  const auto some = consoles({"--grep", "ERROR", "-i", "web-*"});
  EXPECT_EQ(some->wait(), 0);
  EXPECT_THAT(some->output(), Not(HasSubstr("db")));
  const auto none = consoles({"--grep", "panic"});
  EXPECT_EQ(none->wait(), 1);
  EXPECT_EQ(none->output(), "");
  const auto colored = consoles({"--grep", "well", "--color", "always", "3", "2"});
  EXPECT_EQ(colored->wait(), 0);
  EXPECT_THAT(colored->output(), HasSubstr("\x1b[1mwell\x1b[0m"));
}

TEST_F(ConsoleClientTest, TailShowsWhatComesOfDomainsOldAndNew) {
  create_echo("old");
  say("old", "before");
  const auto tail = consoles({"--tail"});
  const auto with_past = consoles({"--tail", "--since", "1h"});
  ASSERT_TRUE(with_past->shows("old: you said: before"));
  // Until it is there, it sees nothing.
  for (int i = 0; tail->output().empty() && i < 50; ++i) say("old", "knock " + std::to_string(i));
  create_echo("new");
  say("new", "hello");
  EXPECT_TRUE(tail->shows("new: you said: hello")) << tail->output();
  EXPECT_THAT(tail->output(), Not(HasSubstr("before")));
  EXPECT_TRUE(with_past->shows("new: you said: hello"));
  tail->signal(SIGINT);
  EXPECT_EQ(tail->wait(), 128 + SIGINT);
  with_past->close_output();
  EXPECT_EQ(with_past->wait(), 128 + SIGPIPE) << "nobody reads it: grep -m 1 has found its line";
}

TEST_F(ConsoleClientTest, LogsReachDomainsThatAreGone) {
  create_echo("web");
  const auto client = console(Where::kPipes, {"web"});
  client->type("remember me\nquit\n");
  EXPECT_EQ(client->wait(), 0);
  const auto now = consoles({"--grep", "remember"});
  EXPECT_EQ(now->wait(), 1);
  const auto search = consoles({"--grep", "you said: remember", "--logs"});
  EXPECT_EQ(search->wait(), 0) << search->errors();
  EXPECT_EQ(search->output(), "web: you said: remember me\n");
}

}  // namespace
}  // namespace xenopolis::toolstack
