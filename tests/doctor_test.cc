// polis doctor on a real host: silent while all agree, and finding whatever one breaks.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>

#include "event/event_channels.h"
#include "event/port_table.h"
#include "grant/grant_table.h"
#include "live_host.h"

namespace xenopolis {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::LiveHost;

class DoctorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"web", "database"}) {
      const auto domid = host_.create(name, "citizen");
      ASSERT_TRUE(domid) << domid.error().message();
      domids_.push_back(*domid);
    }
  }

  // "AREA: TEXT" of each, and whether the exit status says the same.
  std::vector<std::string> findings() {
    const std::string output = host_.shell(POLIS_PROGRAM " doctor --json; echo \" $?\"");
    const size_t end = output.rfind(' ');
    const json diagnosis = json::parse(output.substr(0, end), nullptr, false);
    if (diagnosis.is_discarded()) return {output};
    std::vector<std::string> lines;
    for (const json& found : diagnosis.at("disagreements")) {
      lines.push_back(fmt::format("{} {}: {}", found.at("area").get<std::string>(),
                                  found.value("name", std::string("host")), found.at("text").get<std::string>()));
    }
    EXPECT_EQ(output.substr(end), lines.empty() ? " 0\n" : " 1\n");
    return lines;
  }
  std::string home() const { return fmt::format("/local/domain/{}", domids_[0]); }

  LiveHost host_;
  std::vector<DomId> domids_;
};

TEST_F(DoctorTest, FindsNothingWithDomainsThatRunPausePreserveAndAreGone) {
  const auto gone = host_.create("gone", "citizen");
  ASSERT_TRUE(gone);
  ASSERT_TRUE(host_.ask({{"op", "destroy"}, {"domid", *gone}}));
  ASSERT_TRUE(host_.create("halted", "hello", {{"on_poweroff", "preserve"}, {"on_crash", "preserve"}}));
  ASSERT_TRUE(host_.ask({{"op", "pause"}, {"domid", domids_[0]}}));
  ASSERT_TRUE(host_.ask({{"op", "rename"}, {"domid", domids_[1]}, {"name", "renamed"}}));
  EXPECT_THAT(findings(), IsEmpty());
  EXPECT_THAT(host_.shell(POLIS_PROGRAM " doctor"), HasSubstr("Everything agrees: 3 domains"));
}

TEST_F(DoctorTest, FindsNothingAfterTheDaemonsAndPolisdWereKilled) {
  kill(host_.pid_of("polis-xenstored"), SIGKILL);
  kill(host_.pid_of("polis-consoled"), SIGKILL);
  EXPECT_THAT(findings(), IsEmpty());
  host_.kill_polisd();
  host_.connect();
  EXPECT_THAT(findings(), IsEmpty());
}

// It says so, and does not wait with it.
TEST_F(DoctorTest, FindsProcessesThatAreStopped) {
  const std::pair<const char*, const char*> kStopped[] = {
      {"polis-xenstored", "xenstore host: polis-xenstored does not answer"},
      {"polis-consoled", "consoles host: polis-consoled does not answer"},
      {"polis-cell", nullptr}};
  for (const auto& [program, complaint] : kStopped) {
    const pid_t pid = host_.pid_of(program);
    ASSERT_EQ(kill(pid, SIGSTOP), 0);
    const auto found = findings();
    ASSERT_EQ(kill(pid, SIGCONT), 0);
    EXPECT_THAT(found, Contains(fmt::format("processes host: {} ({}) is stopped (kill -CONT {} lets it go on)", program,
                                            pid, pid)));
    if (complaint == nullptr) continue;
    EXPECT_THAT(found, Contains(HasSubstr(complaint)));
  }
  EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(DoctorTest, FindsEntriesInXenstoreThatAreWrongOrGone) {
  host_.shell("xenstore-write " + home() + "/name other && xenstore-rm " + home() + "/store/ring-ref");
  EXPECT_THAT(findings(),
              ::testing::ElementsAre(
                  fmt::format("xenstore web: {}/name is \"other\", and should be \"web\"", home()),
                  AllOf(HasSubstr("xenstore web: "), HasSubstr("/store/ring-ref is not there; it should be"))));
}

TEST_F(DoctorTest, FindsEntriesOfDomainsThatAreGone) {
  host_.shell(
      "xenstore-write /local/domain/999/name x && xenstore-write /libxl/998/type pv && "
      "xenstore-write /vm/2f3a7c1e-0b64-4d0f-9a51-0123456789ab/name y");
  EXPECT_THAT(findings(), ::testing::UnorderedElementsAre(
                              "xenstore host: /local/domain/999 is of no domain that there is",
                              "xenstore host: /libxl/998 is of no domain that there is",
                              "xenstore host: /vm/2f3a7c1e-0b64-4d0f-9a51-0123456789ab is of no domain that there is"));
}

TEST_F(DoctorTest, FindsWhatIsWrongInTheMachine) {
  machine::Machine& machine = host_.machine();
  event::channels_of(domids_[0]).open_ports.fetch_add(5);
  ASSERT_TRUE(machine.frames().allocate_extent(1));
  EXPECT_THAT(findings(), ::testing::UnorderedElementsAre(
                              AllOf(HasSubstr("event channels web: "), HasSubstr(" are counted")),
                              AllOf(HasSubstr("frames host: 2 MiB of memory"), HasSubstr("are nobody's"))));
  event::channels_of(domids_[0]).open_ports.fetch_sub(5);
}

TEST_F(DoctorTest, FindsALogThatIsNone) {
  const std::string log = host_.directory() + "/console/web.log";
  std::filesystem::remove(log);
  std::filesystem::create_directory(log);
  EXPECT_THAT(findings(), ::testing::ElementsAre("logs web: " + log + " is no file of its own"));
}

// It asks once, however many domains there are.
TEST_F(DoctorTest, FindsThatNobodyReachesTheConsoles) {
  const std::string socket = host_.directory() + "/console.sock";
  std::filesystem::remove(socket);
  EXPECT_THAT(findings(),
              ::testing::ElementsAre(HasSubstr("consoles host: " + socket + " is not there: nobody reaches")));
}

}  // namespace
}  // namespace xenopolis
