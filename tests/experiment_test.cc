// The whole system, end to end: polis experiment with real daemons, cells and guests.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "kvm_requirement.h"
#include "polis_process.h"
#include "temporary_directory.h"

namespace xenopolis {
namespace {

using testing::PolisProcess;
using testing::read_results;
using testing::TemporaryDirectory;

class ExperimentTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string(GetParam()) == "kvm") REQUIRE_KVM_OR_SKIP();
  }
  std::vector<std::string> arguments(std::vector<std::string> more) {
    std::vector<std::string> all{"experiment",      "--backend",   GetParam(), "--output",
                                 directory_.path(), "--floor-vms", "0"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  TemporaryDirectory directory_;
};

TEST_P(ExperimentTest, TwoHundredDomainsComeUpBeatAnswerAndGo) {
  PolisProcess polis(arguments({"--domains", "200", "--seconds", "3"}));
  EXPECT_EQ(polis.wait(), 0) << polis.output();
  const nlohmann::json results = read_results(directory_.path());
  ASSERT_TRUE(results.is_object()) << polis.output();
  EXPECT_EQ(results["domains_up"], 200);
  EXPECT_EQ(results["domains_alive_at_end"], 200);
  EXPECT_EQ(results["domains_crashed"], 0);
  EXPECT_EQ(results["domains_shut_down"], 200) << "each powers off when control/shutdown says so";
  EXPECT_EQ(results["backend"], GetParam());
  // xenstore, console, vif, vbd.
  EXPECT_GE(results["dom0_channels"], 200 * 4);
  EXPECT_GE(results["ping_us"]["count"], 200 * 2);
  EXPECT_GE(results["beats"], 200 * 2);
  EXPECT_EQ(results["processes_left"], 0);
  EXPECT_TRUE(results["problems"].empty()) << results["problems"];
}

TEST_P(ExperimentTest, GuestsOfOldHypervisorsMeetTheWallOfTheTwoLevelAbi) {
  PolisProcess polis(arguments({"--domains", "1100", "--seconds", "1", "--event-abi", "2l"}));
  EXPECT_EQ(polis.wait(), 0) << polis.output();
  const nlohmann::json results = read_results(directory_.path());
  ASSERT_TRUE(results.contains("wall")) << polis.output();
  // 4,096 channels of Dom0, four a domain, less what Dom0 has for itself. Those that are created at the same time as
  // the last one that has all its channels may have some of theirs.
  EXPECT_GE(results["wall"]["domain"], 1000);
  EXPECT_LE(results["wall"]["domain"], 1024 + results["creation_window"].get<int>());
  EXPECT_NE(results["wall"]["error"].get<std::string>().find("No space left"), std::string::npos) << results["wall"];
  EXPECT_EQ(results["domains_up"], results["domains_alive_at_end"]);
  EXPECT_GE(results["domains_up"], 1000);
}

TEST_P(ExperimentTest, KilledCellTakesItsOwnDomainsOnly) {
  PolisProcess polis(arguments({"--domains", "60", "--seconds", "4", "--domains-per-cell", "10"}));
  ASSERT_TRUE(polis.wait_for_output("steady state")) << polis.output();
  const std::vector<pid_t> cells = polis.descendants("polis-cell");
  ASSERT_GE(cells.size(), 6u);
  kill(cells.front(), SIGKILL);
  EXPECT_NE(polis.wait(), 0);
  const nlohmann::json results = read_results(directory_.path());
  ASSERT_TRUE(results.is_object()) << polis.output();
  EXPECT_EQ(results["domains_up"], 60);
  EXPECT_EQ(results["domains_crashed"], 10);
  EXPECT_EQ(results["domains_alive_at_end"], 50);
  EXPECT_EQ(results["domains_shut_down"], 50);
  EXPECT_EQ(results["processes_left"], 0);
}

// While domains are created, in the steady state, and while they are shut down by entries in the store.
TEST_P(ExperimentTest, KilledXenstoredIsStartedAgainAndNobodyNotices) {
  PolisProcess polis(arguments({"--domains", "120", "--seconds", "2"}));
  for (const char* when : {"domains up: ", "steady state", "shut down: "}) {
    ASSERT_TRUE(polis.wait_for_output(when)) << polis.output();
    const std::vector<pid_t> daemons = polis.descendants("polis-xenstored");
    for (const pid_t daemon : daemons) kill(daemon, SIGKILL);
  }
  EXPECT_EQ(polis.wait(), 0) << polis.output();
  const nlohmann::json results = read_results(directory_.path());
  ASSERT_TRUE(results.is_object()) << polis.output();
  EXPECT_EQ(results["domains_up"], 120);
  EXPECT_EQ(results["domains_alive_at_end"], 120);
  EXPECT_EQ(results["domains_shut_down"], 120);
  EXPECT_EQ(results["processes_left"], 0);
}

// By xenstore-control, as an operator does it.
TEST_P(ExperimentTest, XenstoredIsUpdatedUnderRunningDomainsAndNobodyNotices) {
  const std::string control = "/usr/lib/xen-4.17/bin/xenstore-control";
  if (!std::filesystem::exists(control)) GTEST_SKIP() << control << " is missing (Debian's xen-utils-4.17)";
  PolisProcess polis(arguments({"--domains", "60", "--seconds", "3"}));
  ASSERT_TRUE(polis.wait_for_output("steady state")) << polis.output();
  const std::vector<pid_t> daemons = polis.descendants("polis-xenstored");
  ASSERT_EQ(daemons.size(), 1u);
  const std::string program = std::filesystem::read_symlink("/proc/" + std::to_string(daemons.front()) + "/exe");
  const std::string command =
      "XENSTORED_PATH=" + polis.run_directory() + "/xenstored.sock " + control + " live-update " + program;
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  EXPECT_EQ(polis.descendants("polis-xenstored"), daemons);
  EXPECT_EQ(polis.wait(), 0) << polis.output();
  const nlohmann::json results = read_results(directory_.path());
  ASSERT_TRUE(results.is_object()) << polis.output();
  EXPECT_EQ(results["domains_alive_at_end"], 60);
  EXPECT_EQ(results["domains_shut_down"], 60);
}

TEST_P(ExperimentTest, CellKilledWhileDomainsAreCreatedStopsNobodyElse) {
  PolisProcess polis(arguments({"--domains", "120", "--seconds", "1", "--domains-per-cell", "10"}));
  ASSERT_TRUE(polis.wait_for_output("domains up: ")) << polis.output();
  const std::vector<pid_t> cells = polis.descendants("polis-cell");
  ASSERT_FALSE(cells.empty());
  kill(cells.back(), SIGKILL);
  polis.wait();
  const nlohmann::json results = read_results(directory_.path());
  ASSERT_TRUE(results.is_object()) << polis.output();
  EXPECT_GE(results["domains_up"].get<int>() + 10, 120);
  EXPECT_LE(results["domains_crashed"], 10);
  EXPECT_GE(results["domains_alive_at_end"], 110);
  EXPECT_EQ(results["processes_left"], 0);
}

TEST_P(ExperimentTest, CellKilledDuringShutdownIsReapedLikeTheOthers) {
  PolisProcess polis(arguments({"--domains", "120", "--seconds", "0", "--domains-per-cell", "10"}));
  ASSERT_TRUE(polis.wait_for_output("shut down: ")) << polis.output();
  const std::vector<pid_t> cells = polis.descendants("polis-cell");
  if (!cells.empty()) kill(cells.back(), SIGKILL);
  polis.wait();
  const nlohmann::json results = read_results(directory_.path());
  ASSERT_TRUE(results.is_object()) << polis.output();
  EXPECT_EQ(results["domains_up"], 120);
  EXPECT_GE(results["domains_shut_down"].get<int>() + results["domains_crashed"].get<int>(), 120);
  EXPECT_LE(results["domains_crashed"], 10);
  EXPECT_EQ(results["processes_left"], 0);
}

TEST_P(ExperimentTest, InterruptedExperimentLeavesNothingBehind) {
  PolisProcess polis(arguments({"--domains", "100", "--seconds", "60"}));
  ASSERT_TRUE(polis.wait_for_output("steady state")) << polis.output();
  const std::vector<pid_t> cells = polis.descendants("polis-cell");
  ASSERT_FALSE(cells.empty());
  polis.signal(SIGINT);
  EXPECT_EQ(polis.wait(), 130) << polis.output();
  for (const pid_t cell : cells) EXPECT_NE(kill(cell, 0), 0) << "cell " << cell << " lives on";
}

TEST_P(ExperimentTest, RebootIsReportedAsACrashAndSuspendIsRefused) {
  PolisProcess polis(arguments({"--domains", "3", "--seconds", "3"}));
  ASSERT_TRUE(polis.wait_for_output("steady state")) << polis.output();
  const std::string tool = "XENSTORED_PATH=" + polis.run_directory() + "/xenstored.sock xenstore-write ";
  ASSERT_EQ(system((tool + "/local/domain/1/control/shutdown reboot").c_str()), 0);
  ASSERT_EQ(system((tool + "/local/domain/2/control/shutdown suspend").c_str()), 0);
  polis.wait();
  const nlohmann::json results = read_results(directory_.path());
  ASSERT_TRUE(results.is_object()) << polis.output();
  EXPECT_EQ(results["domains_crashed"], 1) << polis.output();
  EXPECT_NE(results["problems"].dump().find("reboot"), std::string::npos) << results["problems"];
  EXPECT_EQ(results["domains_alive_at_end"], 2);
  EXPECT_EQ(results["domains_shut_down"], 2);
}

TEST_P(ExperimentTest, KilledExperimentTakesItsProcessesAlong) {
  std::vector<pid_t> cells;
  std::string run_directory;
  {
    PolisProcess polis(arguments({"--domains", "20", "--seconds", "60"}));
    ASSERT_TRUE(polis.wait_for_output("steady state")) << polis.output();
    cells = polis.descendants("polis-cell");
    ASSERT_FALSE(cells.empty());
    run_directory = polis.run_directory();
    ASSERT_TRUE(std::filesystem::exists(run_directory));
  }
  for (const pid_t cell : cells) {
    for (int patience = 0; kill(cell, 0) == 0 && patience < 500; ++patience) usleep(10'000);
    EXPECT_NE(kill(cell, 0), 0) << "cell " << cell << " lives on";
  }
  for (int patience = 0; std::filesystem::exists(run_directory) && patience < 500; ++patience) usleep(10'000);
  EXPECT_FALSE(std::filesystem::exists(run_directory));
}

INSTANTIATE_TEST_SUITE_P(Backends, ExperimentTest, ::testing::Values("kvm", "hosted"),
                         [](const auto& backend) { return std::string(backend.param); });

// --- somebody else's guest

constexpr const char* kGrub = "/usr/lib/grub-xen/grub-x86_64-xen.bin";  // Debian package grub-xen-host

TEST(GrubTest, ReachesItsPromptInEveryDomain) {
  REQUIRE_KVM_OR_SKIP();
  ASSERT_EQ(access(kGrub, R_OK), 0) << "tools/setup installs it";
  const TemporaryDirectory directory;
  PolisProcess polis({"experiment", "--backend", "kvm", "--domains", "6", "--seconds", "0", "--floor-vms", "0",
                      "--guest", kGrub, "--keep-logs", "--output", directory.path()});
  EXPECT_EQ(polis.wait(), 0) << polis.output();
  EXPECT_EQ(read_results(directory.path())["domains_up"], 6);
  std::ifstream log(directory.path() + "/console/guest-6.log");
  const std::string text((std::istreambuf_iterator<char>(log)), std::istreambuf_iterator<char>());
  EXPECT_NE(text.find("GNU GRUB"), std::string::npos) << text;
  EXPECT_NE(text.find("grub>"), std::string::npos) << text;
}

// --- what cannot work says why

class BadInputTest : public ::testing::Test {
 protected:
  // Exit status and output of an experiment that must not start.
  std::pair<int, std::string> refused(std::vector<std::string> more) {
    std::vector<std::string> all{"experiment",      "--backend",   "hosted", "--output",
                                 directory_.path(), "--floor-vms", "0"};
    all.insert(all.end(), more.begin(), more.end());
    PolisProcess polis(all);
    const int status = polis.wait();
    return {status, polis.output()};
  }
  TemporaryDirectory directory_;
};

TEST_F(BadInputTest, MoreDomainsThanDomidsAreRefusedWithTheNumber) {
  const auto [status, output] = refused({"--domains", "40000"});
  EXPECT_EQ(status, 1);
  EXPECT_NE(output.find("32751"), std::string::npos) << output;
}

TEST_F(BadInputTest, MoreDomainsThanMemoryHoldsEndsWithHowManyFit) {
  const auto [status, output] = refused({"--domains", "5", "--reserve-mib", "1000000000"});
  EXPECT_EQ(status, 1);
  EXPECT_NE(output.find("0 domains fit into this machine's memory"), std::string::npos) << output;
}

TEST_F(BadInputTest, MoreDomainsThanFilesAllowEndsWithTheReason) {
  // Enough descriptors for polisd and a few cells, not for as many cells as are asked for.
  const rlimit few{48, 48};
  PolisProcess polis({"experiment", "--backend", "hosted", "--output", directory_.path(), "--floor-vms", "0",
                      "--domains", "100", "--domains-per-cell", "1", "--seconds", "0"},
                     few);
  EXPECT_EQ(polis.wait(), 1);
  EXPECT_NE(polis.output().find("Too many open files"), std::string::npos) << polis.output();
  const nlohmann::json results = read_results(directory_.path());
  ASSERT_TRUE(results.is_object()) << polis.output();
  EXPECT_GT(results["domains_up"], 0);
  EXPECT_EQ(results["domains_alive_at_end"], results["domains_up"]);
  EXPECT_EQ(results["processes_left"], 0);
}

TEST_F(BadInputTest, ImageThatIsNoElfIsRefused) {
  const std::string image = directory_.path() + "/image";
  std::ofstream(image) << "#!/bin/sh\n";
  const auto [status, output] = refused({"--guest", image, "--expect", "x"});
  EXPECT_EQ(status, 1);
  EXPECT_NE(output.find("ELF"), std::string::npos) << output;
}

TEST_F(BadInputTest, ElfWithoutXenNotesIsRefused) {
  const auto [status, output] = refused({"--guest", "/proc/self/exe", "--expect", "x"});
  EXPECT_EQ(status, 1);
  EXPECT_NE(output.find("Xen"), std::string::npos) << output;
}

TEST_F(BadInputTest, MissingImageIsNamed) {
  const auto [status, output] = refused({"--guest", "/nonexistent/image", "--expect", "x"});
  EXPECT_EQ(status, 1);
  EXPECT_NE(output.find("/nonexistent/image"), std::string::npos) << output;
}

TEST_F(BadInputTest, UnknownOptionIsBadUsage) {
  EXPECT_EQ(refused({"--bogus"}).first, 2);
}

}  // namespace
}  // namespace xenopolis
