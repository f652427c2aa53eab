// xl's words, as people and scripts type them, against a host with hosted domains.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "client_process.h"
#include "temporary_directory.h"

namespace xenopolis::testing {
namespace {

using nlohmann::json;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;
using Where = ClientProcess::Where;

struct Outcome {
  int status;
  std::string output, errors;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class CliHostTest : public ::testing::Test {
 protected:
  CliHostTest() {
    setenv("XDG_RUNTIME_DIR", directory_.path().c_str(), 1);
    for (const char* name : {"POLIS_RUN_DIR", "POLIS_HOST"}) unsetenv(name);
  }
  ~CliHostTest() override {
    for (const std::string& name : hosts_) polis({"--host", name, "host", "stop", "--force"});
  }

  Outcome polis(std::vector<std::string> arguments) {
    ClientProcess process(Where::kPipes, std::move(arguments));
    process.end_input();
    const int status = process.wait();
    return {status, process.output(), process.errors()};
  }
  // Of a command that must succeed.
  std::string output_of(const std::vector<std::string>& arguments) {
    const Outcome outcome = polis(arguments);
    EXPECT_EQ(outcome.status, 0) << arguments.front() << ": " << outcome.output << outcome.errors;
    return outcome.output;
  }
  json json_of(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    return json::parse(output_of(arguments), nullptr, false);
  }
  void start_host(const std::string& name = "default") {
    hosts_.push_back(name);
    const Outcome started = polis({"host", "start", "--name", name, "--backend", "hosted", "--reserve-mib", "64"});
    ASSERT_EQ(started.status, 0) << started.output << started.errors;
  }
  std::string write_file(const std::string& name, const std::string& text) {
    std::ofstream(directory_.path() + "/" + name) << text;
    return directory_.path() + "/" + name;
  }
  // A domain that does nothing until it is asked to end.
  void create(const std::string& name, std::vector<std::string> more = {}) {
    more.insert(more.begin(),
                {"create", "--quiet", "name=" + name, "kernel=" XENOPOLIS_GUEST_DIR "/citizen", "memory=4"});
    output_of(more);
  }
  std::vector<std::string> names() { return lines_of(output_of({"list", "--names"})); }
  // Guests heed what they are asked only when they look.
  bool becomes(const std::function<bool()>& condition) {
    for (int tries = 0; tries < 300; ++tries) {
      if (condition()) return true;
      usleep(20'000);
    }
    return false;
  }

  TemporaryDirectory directory_;
  std::vector<std::string> hosts_;
};

TEST_F(CliHostTest, WithoutAHostEveryWordSaysHowToStartOne) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"list"}, {"info"}, {"destroy", "web"}, {"top", "-b"}, {"uptime"}}) {
    const Outcome outcome = polis(words);
    EXPECT_EQ(outcome.status, 1) << words.front();
    EXPECT_THAT(outcome.errors, HasSubstr("polis host start")) << words.front();
  }
  EXPECT_EQ(polis({"host", "status"}).status, 3) << "as scripts ask";
  EXPECT_EQ(polis({"host", "stop"}).status, 0) << "it does not run";
}

TEST_F(CliHostTest, WrongCommandLinesAreAnsweredInALineThatSaysWhatToDo) {
  const std::pair<std::vector<std::string>, const char*> wrong[] = {
      {{"lst"}, "polis: there is no word lst (did you mean list? `polis --help` shows those that there are)\n"},
      {{"migrate"}, "polis: there is no word migrate (`polis --help` shows those that there are)\n"},
      {{"host", "restart"}, "polis host: there is no word restart (did you mean start? `polis host --help` shows"},
      {{"--host", "x"}, "polis: which word? `polis --help` shows them\n"},
      {{"--host"}, "polis: --host: "},
      {{"create"}, "polis create: what? A configuration file"},
      {{"destroy"}, "polis destroy: which domain? A name, a domid, or -a for all (`polis destroy --help` shows"},
      {{"console", "web", "--json"}, "polis console: --json: what it prints is no JSON (`polis console --help` shows"},
      {{"create", "-c", "name=a", "--json"}, "polis create: --console: what it prints is no JSON"},
      {{"trace", "-c", "web", "--json"}, "polis trace: --json: "},
      {{"completion", "bash", "--json"}, "polis completion: --json: "},
      {{"report", "--json"}, "polis report: --json: "},
      {{"experiment", "--json"}, "polis experiment: --json: "},
      {{"list", "--\033[31m"}, "polis list: The following argument was not expected: --?[31m ("},
      {{"list", "--nonsense"}, "polis list: The following argument was not expected: --nonsense (`polis list --help`"},
      {{"domname", "web"}, "polis domname: DOMID cannot be \"web\" (`polis domname --help` shows what it takes)\n"},
      {{"rename", "a"}, "polis rename: NEW-NAME is required (`polis rename --help` shows what it takes)\n"}};
  for (const auto& [words, answer] : wrong) {
    const Outcome outcome = polis(words);
    EXPECT_EQ(outcome.status, 2) << words.front();
    EXPECT_THAT(outcome.errors, StartsWith(answer));
    EXPECT_THAT(lines_of(outcome.errors), SizeIs(1));
  }
}

TEST_F(CliHostTest, HostsLiveSideBySideAndEndWithAllTheirProcesses) {
  start_host("one");
  start_host("two");
  EXPECT_EQ(polis({"host", "start", "--name", "one"}).status, 0);
  EXPECT_THAT(polis({"host", "start", "--name", "one"}).errors, HasSubstr("runs already"));
  output_of({"--host", "one", "create", "-q", "name=web", "kernel=" XENOPOLIS_GUEST_DIR "/citizen"});
  EXPECT_EQ(output_of({"list", "--names", "--host", "one"}), "web\n");
  EXPECT_EQ(output_of({"list", "--names", "--host", "two"}), "");
  setenv("POLIS_HOST", "one", 1);
  EXPECT_EQ(output_of({"list", "--names"}), "web\n");
  unsetenv("POLIS_HOST");
  EXPECT_THAT(json_of({"host", "status", "--all"}), SizeIs(2));

  const Outcome refused = polis({"host", "stop", "--name", "one"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.errors, HasSubstr("--force"));
  const json processes = json_of({"host", "status", "--name", "one"})["processes"];
  EXPECT_EQ(json_of({"host", "stop", "--name", "one", "--force"})["domains"], 1);
  EXPECT_EQ(polis({"host", "status", "--name", "one"}).status, 3);
  for (const char* name : {"polisd", "polis-xenstored", "polis-consoled"}) {
    EXPECT_TRUE(becomes([&] { return kill(processes[name].get<pid_t>(), 0) != 0; })) << name;
  }
  EXPECT_EQ(polis({"host", "status", "--name", "two"}).status, 0);
}

TEST_F(CliHostTest, OfAHostThatHasEndedNoSocketIsLeft) {
  start_host();
  create("web");
  const std::string run_directory = json_of({"info"})["run_dir"];
  const auto sockets = [&] {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(run_directory)) {
      if (entry.is_socket()) names.push_back(entry.path().filename());
    }
    return names;
  };
  EXPECT_THAT(sockets(), UnorderedElementsAre("polisd.sock", "xenstored.sock", "console.sock"));
  output_of({"host", "stop", "--force"});
  EXPECT_THAT(sockets(), IsEmpty());
}

TEST_F(CliHostTest, HostIsNotStartedTwiceAlsoWhilePolisdIsStartedAgain) {
  start_host();
  create("web");
  const json processes = json_of({"host", "status"})["processes"];
  kill(processes["polisd"].get<pid_t>(), SIGKILL);
  const Outcome second = polis({"host", "start", "--backend", "hosted"});
  EXPECT_EQ(second.status, 0);
  EXPECT_THAT(second.errors, HasSubstr("runs already"));
  EXPECT_EQ(output_of({"list", "--names"}), "web\n");
  EXPECT_EQ(json_of({"host", "status"})["processes"]["polis-keeper"], processes["polis-keeper"]);
}

TEST_F(CliHostTest, HostThatCannotStartSaysWhyPolisdDidNot) {
  std::ofstream(directory_.path() + "/file");
  const Outcome outcome = polis({"host", "start", "--run-dir", directory_.path() + "/file"});
  EXPECT_EQ(outcome.status, 1);
  const std::string longest(120, 'x');
  const Outcome too_long = polis({"host", "start", "--run-dir", directory_.path() + "/" + longest});
  EXPECT_EQ(too_long.status, 1);
  EXPECT_THAT(too_long.errors, HasSubstr("the path of a socket has at most 107 bytes"));
  EXPECT_THAT(too_long.errors, Not(HasSubstr("starting it again")));
  const Outcome bad = polis({"host", "start", "--", "--no-such-option"});
  EXPECT_EQ(bad.status, 1);
  EXPECT_THAT(bad.errors, HasSubstr("--no-such-option"));
  EXPECT_THAT(bad.errors, HasSubstr("polisd.log"));
}

TEST_F(CliHostTest, EnvironmentPointsShellsAtTheHost) {
  const std::string output = output_of({"env", "--run-dir", "/tmp/it's"});
  EXPECT_THAT(output, HasSubstr("export POLIS_RUN_DIR='/tmp/it'\\''s'\n"));
  EXPECT_THAT(output, HasSubstr("export XENSTORED_PATH='/tmp/it'\\''s/xenstored.sock'\n"));
  EXPECT_THAT(output_of({"env", "--unset"}), HasSubstr("unset XENSTORED_PATH"));
}

TEST_F(CliHostTest, OutputThatNobodyTakesIsAFailure) {
  start_host();
  const std::string errors = directory_.path() + "/errors";
  for (const char* words : {"list", "list --json", "info", "env", "metrics", "completion bash", "doctor"}) {
    const int status = std::system((POLIS_PROGRAM " " + std::string(words) + " >/dev/full 2>" + errors).c_str());
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << words << ": " << status;
    std::ifstream file(errors);
    std::string said;
    std::getline(file, said);
    EXPECT_THAT(said, AllOf(StartsWith("polis "), HasSubstr("No space left on device"))) << words;
  }
}

TEST_F(CliHostTest, ListLooksAsThatOfXl) {
  start_host();
  create("web");
  create("db", {"-p"});
  const auto lines = lines_of(output_of({"list"}));
  ASSERT_THAT(lines, SizeIs(4));
  EXPECT_EQ(lines[0], "Name                                        ID   Mem VCPUs\tState\tTime(s)");
  const std::string number = " +[0-9.]+";
  EXPECT_THAT(lines[1], MatchesRegex("Domain-0 {32} +0 +[0-9]+ +[0-9]+     r-----" + number));
  EXPECT_THAT(lines[2], MatchesRegex("web {37} +1     4     1     [-r][-b]----" + number));
  EXPECT_THAT(lines[3], MatchesRegex("db {38} +2     4     1     --p---" + number));
  EXPECT_THAT(lines_of(output_of({"list", "db"})), SizeIs(2));
  EXPECT_THAT(lines_of(output_of({"list", "1", "db"})), SizeIs(3));
  EXPECT_THAT(polis({"list", "nobody"}).errors, HasSubstr("there is no domain nobody"));
  EXPECT_THAT(polis({"list", "\xff"}).errors, HasSubstr("there is no domain ?"));

  const json all = json_of({"list"});
  ASSERT_THAT(all, SizeIs(2)) << all;
  EXPECT_EQ(all[0]["name"], "web");
  EXPECT_EQ(all[1]["paused"], true);
  const json details = json::parse(output_of({"list", "-l", "web"}));
  EXPECT_EQ(details[0]["domid"], 1);
  EXPECT_EQ(details[0]["config"]["memory_mib"], 4);
  EXPECT_EQ(details[0]["uuid"], all[0]["uuid"]);
}

TEST_F(CliHostTest, SmallQuestionsHaveSmallAnswers) {
  start_host();
  create("web");
  EXPECT_EQ(output_of({"domid", "web"}), "1\n");
  EXPECT_EQ(output_of({"domname", "1"}), "web\n");
  EXPECT_EQ(polis({"domid", "nobody"}).status, 1);
  EXPECT_EQ(polis({"domname", "7"}).status, 1);
  EXPECT_THAT(lines_of(output_of({"uptime"})),
              ElementsAre("Name                                ID Uptime", StartsWith("Domain-0 "),
                          MatchesRegex("web {30} +1  0:00:[0-9]{2}")));
  EXPECT_THAT(output_of({"uptime", "-s", "web"}), MatchesRegex(" [0-9:]{8} up  0:00, web \\(1\\)\n"));
  EXPECT_THAT(lines_of(output_of({"vcpu-list", "web"})), SizeIs(2));
  EXPECT_THAT(polis({"vcpu-list", "0"}).errors, HasSubstr("no vCPUs"));
  EXPECT_EQ(output_of({"info", "backend"}).substr(0, 7), "hosted\n");
  EXPECT_THAT(output_of({"info"}), HasSubstr("nr_domains             : 1\n"));
  EXPECT_EQ(json_of({"info"})["domains"], 1);
  EXPECT_EQ(json_of({"info"})["facts"]["nr_domains"], "1");
  EXPECT_EQ(json_of({"info", "nr_domains"}), (json{{"nr_domains", "1"}}));
  EXPECT_EQ(polis({"info", "nonsense", "--json"}).status, 1);
}

TEST_F(CliHostTest, EventChannelsShowWhereEachPortLeads) {
  start_host();
  create("web");
  ASSERT_TRUE(becomes([&] { return json_of({"event-channels", "web"})["ports"].size() >= 2; }));
  const json channels = json_of({"event-channels", "web"});
  EXPECT_EQ(channels["ports"][0]["remote_domid"], 0);
  EXPECT_THAT(output_of({"event-channels", "1"}), HasSubstr("interdomain"));
}

TEST_F(CliHostTest, DomainsArePausedRenamedAndDestroyed) {
  start_host();
  for (const char* name : {"a", "b", "c"}) create(name);
  output_of({"pause", "a", "2"});
  EXPECT_THAT(output_of({"list", "b"}), ContainsRegex(" [-r][-b]p--- "));
  output_of({"unpause", "-a"});
  EXPECT_THAT(output_of({"list"}), Not(ContainsRegex(" [-r][-b]p--- ")));
  output_of({"rename", "a", "alpha"});
  EXPECT_THAT(names(), ElementsAre("alpha", "b", "c"));
  EXPECT_EQ(polis({"rename", "b", "c"}).status, 1) << "the name is taken";
  EXPECT_EQ(polis({"rename", "b", "no/name"}).status, 1);

  const Outcome some = polis({"destroy", "b", "17"});
  EXPECT_EQ(some.status, 1);
  EXPECT_THAT(some.errors, HasSubstr("17"));
  EXPECT_THAT(names(), ElementsAre("alpha", "c")) << "what can be done is done";
  EXPECT_THAT(polis({"destroy", "0"}).errors, HasSubstr("the host itself"));
  EXPECT_EQ(polis({"destroy"}).status, 2) << "not all of them by mistake";
  output_of({"destroy", "-a"});
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(CliHostTest, ShutdownAndRebootWaitForWhatTheGuestDoes) {
  start_host();
  create("a");
  create("b");
  const Outcome one = polis({"shutdown", "-w", "a"});
  EXPECT_EQ(one.status, 0) << one.errors;
  EXPECT_THAT(one.errors, HasSubstr("Shutting down domain 1"));
  EXPECT_THAT(names(), ElementsAre("b")) << "it is gone when this returns";
  const Outcome again = polis({"reboot", "-w", "b"});
  EXPECT_EQ(again.status, 0) << again.errors;
  EXPECT_THAT(names(), ElementsAre("b"));
  EXPECT_NE(output_of({"domid", "b"}), "2\n") << "the next one with this name";
  EXPECT_EQ(polis({"shutdown", "-aw"}).status, 0);
  EXPECT_THAT(names(), IsEmpty());
  EXPECT_THAT(polis({"shutdown", "-F", "b"}).errors, HasSubstr("ACPI"));
  EXPECT_EQ(polis({"shutdown"}).status, 2);

  create("paused", {"-p"});
  ClientProcess waiting(Where::kPipes, {"shutdown", "-w", "paused"});
  ASSERT_TRUE(waiting.becomes([&] { return waiting.errors().find("Waiting for 1 domain") != std::string::npos; }))
      << waiting.errors();
  waiting.signal(SIGINT);
  EXPECT_EQ(waiting.wait(), 130);
  EXPECT_THAT(waiting.errors(), HasSubstr("interrupted"));
}

TEST_F(CliHostTest, ManyAreCreatedFromOneFile) {
  start_host();
  const std::string file =
      write_file("web.cfg", "name = \"web\"\nkernel = \"" XENOPOLIS_GUEST_DIR "/citizen\"\nmemory = 4\n");
  EXPECT_THAT(output_of({"create", file, "--count", "30"}), MatchesRegex("30 domains created in [0-9.]+ s\n"));
  EXPECT_THAT(names(), SizeIs(30));
  EXPECT_EQ(output_of({"create", file, "--name", "db-{:03}", "--count", "2", "--start", "9", "memory=5"}),
            "db-009: domain 31\ndb-010: domain 32\n");
  EXPECT_EQ(json_of({"list", "db-009"})[0]["memory_kib"], 5 * 1024);

  // Some of these are there already.
  const Outcome some = polis({"create", file, "--count", "32"});
  EXPECT_EQ(some.status, 1);
  EXPECT_THAT(some.errors, HasSubstr("web-1"));
  EXPECT_THAT(names(), SizeIs(34)) << "exactly the good ones";
  const Outcome none = polis({"create", file, "--count", "40", "--all-or-nothing"});
  EXPECT_EQ(none.status, 1);
  EXPECT_THAT(names(), SizeIs(34)) << "none";
}

TEST_F(CliHostTest, MistakesInFilesAreNamedBeforeAnythingIsCreated) {
  start_host();
  const std::string file = write_file("bad.cfg", "name = \"x\"\nkernel = \"/x\"\nvcpus = 2\nnonsense = 1\n");
  const Outcome outcome = polis({"create", file});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.errors, HasSubstr(file + ":3: vcpus"));
  EXPECT_THAT(outcome.errors, HasSubstr(file + ":4: nonsense"));
  EXPECT_THAT(polis({"create", "name=x", "kernel=/no/such"}).errors, HasSubstr("/no/such"));
  EXPECT_EQ(polis({"create"}).status, 2);
  const std::string long_setting = "extra=\"" + std::string(1000, 'x') + "\"";
  EXPECT_THAT(polis({"create", "name=x", "kernel=/no/such", long_setting}).errors, HasSubstr("/no/such: "));
  EXPECT_THAT(names(), IsEmpty());
  const json specs =
      json::parse(output_of({"create", "-n", "name=x", "kernel=" XENOPOLIS_GUEST_DIR "/citizen", "--count", "2"}));
  EXPECT_THAT(specs, SizeIs(2));
}

TEST_F(CliHostTest, CtrlCLeavesWhatWasCreatedAndSaysHowMany) {
  start_host();
  ClientProcess process(Where::kPipes, {"create", "name=w", "kernel=" XENOPOLIS_GUEST_DIR "/citizen", "--count", "5000",
                                        "--window", "1"});
  ASSERT_TRUE(becomes([&] { return !names().empty(); }));
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(), 130) << process.errors();
  std::smatch found;
  const std::string said = process.errors();
  ASSERT_TRUE(std::regex_search(said, found, std::regex("interrupted: ([0-9]+) of 5000"))) << said;
  EXPECT_THAT(names(), SizeIs(std::stoul(found[1])));
}

TEST_F(CliHostTest, CreationGoesOnWhenPolisdIsKilled) {
  start_host();
  create("w-400");  // one of the names is taken
  for (const bool all_or_nothing : {false, true}) {
    std::vector<std::string> words{
        "create", "name=w-{}", "kernel=" XENOPOLIS_GUEST_DIR "/citizen", "memory=4", "--count", "400", "--window", "2"};
    if (all_or_nothing) words.push_back("--all-or-nothing");
    ClientProcess process(Where::kPipes, words);
    ASSERT_TRUE(becomes([&] { return names().size() > 30; }));
    kill(json_of({"info"})["processes"]["polisd"].get<pid_t>(), SIGKILL);
    EXPECT_EQ(process.wait(), 1) << process.errors();
    EXPECT_THAT(process.errors(), HasSubstr("w-400: a domain called w-400 exists"));
    EXPECT_THAT(process.errors(), Not(HasSubstr("polisd is gone")));
    if (all_or_nothing) {
      EXPECT_THAT(process.errors(), HasSubstr("were destroyed again"));
      EXPECT_THAT(names(), ElementsAre("w-400")) << "none";
    } else {
      EXPECT_THAT(process.errors(), HasSubstr("399 of 400 domains were created"));
      EXPECT_THAT(names(), SizeIs(400)) << "exactly the good ones";
      output_of({"destroy", "-a"});
      create("w-400");
    }
  }
  EXPECT_EQ(polis({"doctor"}).status, 0);
}

TEST_F(CliHostTest, CreationEndsWhenTheHostDoes) {
  start_host();
  for (const char* more : {"--window=64", "--all-or-nothing"}) {
    output_of({"host", "start", "--backend", "hosted", "--reserve-mib", "64"});
    ClientProcess process(Where::kPipes, {"create", "name=w", "kernel=" XENOPOLIS_GUEST_DIR "/citizen", "memory=4",
                                          "--count", "5000", more});
    ASSERT_TRUE(becomes([&] { return !names().empty(); }));
    output_of({"host", "stop", "--force"});
    EXPECT_EQ(process.wait(), 1);
    EXPECT_THAT(process.errors(), HasSubstr("the host has ended"));
    EXPECT_THAT(process.errors(), HasSubstr("of 5000 domains had been created by then"));
    EXPECT_LE(lines_of(process.errors()).size(), 3u) << process.errors();
  }
}

TEST_F(CliHostTest, WhoWaitsForAPolisdThatIsStoppedIsToldSo) {
  start_host();
  const pid_t polisd = json_of({"info"})["processes"]["polisd"].get<pid_t>();
  ASSERT_EQ(kill(polisd, SIGSTOP), 0);
  ClientProcess list(Where::kPipes, {"list"});
  const std::string advice = "it is stopped (kill -CONT " + std::to_string(polisd) + " lets it go on)";
  EXPECT_TRUE(list.becomes([&] { return list.errors().find(advice) != std::string::npos; })) << list.errors();
  ASSERT_EQ(kill(polisd, SIGCONT), 0);
  EXPECT_EQ(list.wait(), 0);
}

TEST_F(CliHostTest, WhoWaitsForEndsSeesThemThoughPolisdIsKilled) {
  start_host();
  output_of({"create", "-q", "name=w", "kernel=" XENOPOLIS_GUEST_DIR "/citizen", "memory=4", "--count", "40"});
  create("paused", {"-p"});
  ClientProcess waiting(Where::kPipes, {"shutdown", "-aw"});
  ASSERT_TRUE(waiting.becomes([&] { return waiting.errors().find("Waiting for ") != std::string::npos; }))
      << waiting.errors();
  kill(json_of({"info"})["processes"]["polisd"].get<pid_t>(), SIGKILL);
  ASSERT_TRUE(becomes([&] { return names() == std::vector<std::string>{"paused"}; }));
  output_of({"unpause", "paused"});
  EXPECT_EQ(waiting.wait(), 0) << waiting.errors();
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(CliHostTest, FleetComesUpAndGoesDown) {
  write_file("web.cfg", "name = \"web-{}\"\nkernel = \"" XENOPOLIS_GUEST_DIR "/citizen\"\nmemory = 4\n");
  const std::string file =
      write_file("fleet.toml",
                 "[host]\nname = \"fleet\"\nbackend = \"hosted\"\n\n[domains.web]\nconfig = "
                 "\"web.cfg\"\ncount = 5\n\n[domains.db]\nkernel = \"" XENOPOLIS_GUEST_DIR "/citizen\"\n");
  hosts_.push_back("fleet");
  EXPECT_THAT(output_of({"up", file}), HasSubstr("6 domains created"));
  EXPECT_THAT(output_of({"up", file}), HasSubstr("0 domains created in 0.00 s, 6 were there"));
  output_of({"--host", "fleet", "destroy", "web-3"});
  output_of({"--host", "fleet", "create", "-q", "name=other", "kernel=" XENOPOLIS_GUEST_DIR "/citizen"});
  EXPECT_THAT(output_of({"up", file}), HasSubstr("1 domain created"));
  EXPECT_EQ(output_of({"down", file, "--shutdown"}), "6 domains ended\n");
  EXPECT_EQ(output_of({"--host", "fleet", "list", "--names"}), "other\n");
  EXPECT_EQ(output_of({"down", "--host", "fleet", "--stop-host"}), "1 domain ended\n");
  EXPECT_EQ(polis({"host", "status", "--name", "fleet"}).status, 3);
}

TEST_F(CliHostTest, TopPrintsForScripts) {
  start_host();
  create("busy");
  create("idle", {"-p"});
  const auto lines = lines_of(output_of({"top", "-b", "-i", "2", "-d", "0.1", "--sort", "name"}));
  ASSERT_THAT(lines, SizeIs(6));
  EXPECT_THAT(lines[0], StartsWith("NAME "));
  EXPECT_THAT(lines[1], StartsWith("busy "));
  EXPECT_THAT(lines[2], StartsWith("idle "));
  const json sample = json_of({"top", "-i", "1", "--search", "IDL"});
  ASSERT_THAT(sample["domains"], SizeIs(1)) << sample;
  EXPECT_EQ(sample["domains"][0]["name"], "idle");
}

TEST_F(CliHostTest, TopAtATerminalSortsSearchesAndLeaves) {
  start_host();
  create("web");
  create("db");
  setenv("TERM", "xterm", 1);
  ClientProcess top(Where::kTerminal, {"top", "-d", "0.2", "--sort", "name"});
  ASSERT_TRUE(top.shows("2 domains")) << top.output();
  ASSERT_TRUE(top.shows("by name")) << top.output();
  ASSERT_TRUE(top.shows("db")) << top.output();
  // Ctrl-L: else only what differs is written.
  top.type("R\x0c");
  EXPECT_TRUE(top.shows("reversed")) << top.output();
  top.type("/we\r\x0c");
  EXPECT_TRUE(top.shows("with \"we\"")) << top.output();
  top.type("?\x0c");
  EXPECT_TRUE(top.shows("Any key goes back")) << top.output();
  top.type("x");
  top.type("q");
  EXPECT_EQ(top.wait(), 0);
  EXPECT_TRUE(top.is_cooked());
}

TEST_F(CliHostTest, TopLeavesTheTerminalAsItWasWhateverEndsOrStopsIt) {
  start_host();
  setenv("TERM", "xterm", 1);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    ClientProcess top(Where::kTerminal, {"top"});
    ASSERT_TRUE(top.shows("0 domains")) << top.output();
    EXPECT_FALSE(top.is_cooked());
    top.signal(number);
    EXPECT_EQ(top.wait(), 128 + number);
    EXPECT_TRUE(top.is_cooked()) << number;
    EXPECT_TRUE(top.shows("\033[?1049l")) << "the shell's screen is back after signal " << number;
  }
  ClientProcess top(Where::kTerminal, {"top"});
  ASSERT_TRUE(top.shows("0 domains")) << top.output();
  top.type("\x1a");
  EXPECT_TRUE(top.becomes([&] { return top.is_cooked(); }));
  top.signal(SIGCONT);
  EXPECT_TRUE(top.becomes([&] { return !top.is_cooked(); }));
  EXPECT_TRUE(top.shows("0 domains")) << top.output();
}

TEST_F(CliHostTest, TopSaysWhatTerminalsLack) {
  start_host();
  for (const auto& [type, why] :
       {std::pair("dumb", "TERM=dumb, cannot move its cursor"), std::pair("nonsense", "TERM=nonsense, is not known"),
        std::pair("", "TERM=, is not")}) {
    setenv("TERM", type, 1);
    ClientProcess top(Where::kTerminal, {"top"});
    EXPECT_EQ(top.wait(), 1) << type;
    EXPECT_THAT(top.output(), HasSubstr(why));
  }
  setenv("TERM", "xterm", 1);
}

TEST_F(CliHostTest, WhoWatchesAHostIsToldThatItHasEnded) {
  start_host();
  output_of({"create", "-q", "name=web", "kernel=" XENOPOLIS_GUEST_DIR "/echo"});
  setenv("TERM", "xterm", 1);
  ClientProcess top(Where::kTerminal, {"top", "-d", "0.2"});
  ClientProcess console(Where::kTerminal, {"console", "web"});
  ClientProcess consoles(Where::kPipes, {"consoles", "--tail", "--since", "1h"});
  ASSERT_TRUE(top.shows("1 domain:")) << top.output();
  ASSERT_TRUE(console.shows("ready")) << console.output();
  ASSERT_TRUE(consoles.shows("ready")) << consoles.output();
  output_of({"host", "stop", "--force"});
  for (ClientProcess* process : {&top, &console}) {
    EXPECT_EQ(process->wait(), 0);
    EXPECT_THAT(process->output(), HasSubstr("the host has ended"));
    EXPECT_TRUE(process->is_cooked());
  }
  EXPECT_EQ(consoles.wait(), 0);
  EXPECT_THAT(consoles.errors(), HasSubstr("the host has ended"));
}

TEST_F(CliHostTest, ProgressKeepsToOneLineOfNarrowTerminals) {
  start_host();
  const auto create_many = [&](unsigned short columns) {
    ClientProcess create(Where::kTerminal, {"create", "name=web", "kernel=" XENOPOLIS_GUEST_DIR "/citizen", "memory=4",
                                            "--count", "400", "--window", "1"});
    create.resize(columns);
    EXPECT_TRUE(create.shows("of 400")) << create.output();
    create.signal(SIGINT);
    EXPECT_EQ(create.wait(), 130);
    output_of({"destroy", "--all"});
    return create.output();
  };
  EXPECT_THAT(create_many(80), HasSubstr(" domains created, "));
  const std::string narrow = create_many(20);
  std::istringstream texts(narrow.substr(0, narrow.find("polis create")));
  for (std::string text; std::getline(texts, text, '\r');) EXPECT_LT(text.size(), 20u) << text;
}

}  // namespace
}  // namespace xenopolis::testing
