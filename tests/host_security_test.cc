// What the processes of a host have given up, and what a cell that was taken over can say to polisd.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/sandbox.h"
#include "live_host.h"
#include "vcpu/cell_protocol.h"

namespace xenopolis::testing {
namespace {

namespace fs = std::filesystem;

// The host's programs in a directory of their own, with the liar as polis-cell.
class HostSecurityTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const fs::path programs = PROGRAM_DIRECTORY, here = fs::path(POLISD_PROGRAM).parent_path();
    fs::remove_all(here);
    fs::create_directories(here);
    for (const char* name : {"polisd", "polis-keeper", "polis-xenstored", "polis-consoled"}) {
      fs::create_hard_link(programs / name, here / name);
    }
    fs::create_hard_link(programs / "polis-cell", here / "honest-cell");
    fs::create_hard_link(LYING_CELL, here / "polis-cell");
  }
  static void TearDownTestSuite() { fs::remove_all(fs::path(POLISD_PROGRAM).parent_path()); }
};

// A line of /proc/PID/status.
std::string status_line(pid_t pid, const std::string& key) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":\t")) return line.substr(key.size() + 2);
  }
  return "";
}

TEST_F(HostSecurityTest, ProcessesHaveGivenUpWhatTheyDoNotNeed) {
  constexpr const char *kNone = "0000000000000000", *kOfFiles = "000000000000000b", *kAndSetpcap = "000000000000010b";
  LiveHost host;
  ASSERT_TRUE(host.create("honest", "citizen"));
  // The first cell need not be the domain's: one that waits for domains may still be on its way there.
  ASSERT_TRUE(host.await([&] {
    const pid_t cell = host.pid_of("polis-cell");
    return status_line(cell, "CapPrm") == kNone &&
           status_line(cell, "Seccomp") == (sandbox::filters_are_enforced() ? "2" : "0");
  }));
  for (const auto& [program, capabilities] :
       {std::pair("polis-keeper", kAndSetpcap), std::pair("polisd", kOfFiles), std::pair("polis-xenstored", kOfFiles),
        std::pair("polis-consoled", kOfFiles), std::pair("polis-cell", kNone)}) {
    const pid_t pid = host.pid_of(program);
    EXPECT_EQ(status_line(pid, "NoNewPrivs"), "1") << program;
    const bool has_filter = sandbox::filters_are_enforced() && program != std::string_view("polis-keeper");
    EXPECT_EQ(status_line(pid, "Seccomp"), has_filter ? "2" : "0") << program;
    if (geteuid() != 0) continue;  // who has none either way
    for (const char* set : {"CapEff", "CapPrm", "CapBnd"}) EXPECT_EQ(status_line(pid, set), capabilities) << program;
  }
}

TEST_F(HostSecurityTest, OthersDomainsRunOnAndItsOwnAreRefusedWithAReason) {
  LiveHost host({"--domains-per-cell", "1"});
  std::vector<std::string> honest{"honest-0"};
  ASSERT_TRUE(host.create(honest.back(), "citizen"));
  std::ofstream(fs::path(POLISD_PROGRAM).parent_path() / "lie").close();
  // The cells that wait for domains were started before.
  Result<DomId> refused = DomId{};
  for (int i = 1; refused && i < 64; ++i) {
    const std::string name = "honest-" + std::to_string(i);
    refused = host.create(name, "citizen");
    if (refused) honest.push_back(name);
  }
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EIO);
  EXPECT_EQ(refused.error().what, std::string(vcpu::kMaxReplyText - 1, 'x'));
  ASSERT_FALSE(host.create("again", "citizen"));
  const nlohmann::json domains = host.list();
  EXPECT_EQ(domains.size(), honest.size());
  for (const nlohmann::json& domain : domains) {
    EXPECT_EQ(domain.at("state"), "running") << domain;
    EXPECT_EQ(domain.at("stage"), "up") << domain;
  }
  for (const std::string& name : honest) {
    EXPECT_TRUE(host.ask({{"op", "pause"}, {"name", name}})) << name;
    EXPECT_TRUE(host.ask({{"op", "destroy"}, {"name", name}})) << name;
  }
  EXPECT_TRUE(host.list().empty());
  EXPECT_TRUE(host.ask({{"op", "audit"}}).value().at("findings").empty());
}

}  // namespace
}  // namespace xenopolis::testing
