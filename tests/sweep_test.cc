// polis experiment --sweep and polis report, with real hosts.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "polis_process.h"
#include "temporary_directory.h"

namespace xenopolis {
namespace {

using testing::PolisProcess;
using testing::read_results;
using testing::TemporaryDirectory;

std::string contents(const std::string& path) {
  std::ifstream file(path);
  return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class SweepTest : public ::testing::Test {
 protected:
  std::vector<std::string> arguments(std::vector<std::string> more) {
    std::vector<std::string> all{"experiment",      "--backend", "hosted", "--output",
                                 directory_.path(), "--beat-ms", "200",    "--sweep"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string report() { return contents(directory_.path() + "/report.html"); }
  TemporaryDirectory directory_;
};

TEST_F(SweepTest, RunsEverySizeWithEveryAbiAndReportsThem) {
  PolisProcess polis(arguments({"40,10", "--event-abi", "fifo,2l,3l", "--seconds", "0.5", "--peers", "3"}));
  EXPECT_EQ(polis.wait(), 0) << polis.output();
  const nlohmann::json results = read_results(directory_.path());
  ASSERT_TRUE(results.is_object()) << polis.output();
  ASSERT_EQ(results["runs"].size(), 6u);
  EXPECT_EQ(results["planned_runs"], 6);
  for (size_t index = 0; index < 6; ++index) {
    EXPECT_EQ(results["runs"][index]["domains_up"], index < 3 ? 10 : 40) << "small ones first";
    EXPECT_GT(results["runs"][index]["creation_load"]["polis-xenstored"]["cpu_s"], 0);
  }
  // Processes need nothing but us.
  ASSERT_GE(results["peers"].size(), 1u);
  EXPECT_EQ(results["peers"][0]["name"], "process");
  EXPECT_EQ(results["peers"][0]["started"], 3);
  EXPECT_TRUE(contains(report(), "40 Xen domains on"));
  EXPECT_TRUE(contains(report(), "--sweep 40,10 --event-abi fifo,2l,3l"));

  // And again from what it left.
  std::filesystem::remove(directory_.path() + "/report.html");
  PolisProcess again({"report", directory_.path(), "--picture", directory_.path() + "/picture.svg"});
  EXPECT_EQ(again.wait(), 0) << again.output();
  EXPECT_TRUE(contains(report(), "40 Xen domains on"));
  EXPECT_TRUE(contains(contents(directory_.path() + "/picture.svg"), "</svg>"));
}

TEST_F(SweepTest, InterruptionLeavesAReportOfWhatThereIs) {
  PolisProcess polis(arguments({"10,2000", "--seconds", "0.5", "--peers", "0"}));
  ASSERT_TRUE(polis.wait_for_output("/2000 after")) << polis.output();
  polis.signal(SIGINT);
  EXPECT_EQ(polis.wait(), 130) << polis.output();
  const nlohmann::json results = read_results(directory_.path());
  ASSERT_TRUE(results.is_object()) << polis.output();
  EXPECT_EQ(results["interrupted"], true);
  EXPECT_EQ(results["runs"][0]["domains_up"], 10);
  EXPECT_TRUE(contains(report(), "The sweep was interrupted"));
}

TEST_F(SweepTest, BadUsageIsRefusedBeforeAnythingRuns) {
  EXPECT_EQ(PolisProcess(arguments({"10,40000"})).wait(), 2);
  EXPECT_EQ(PolisProcess(arguments({"10", "--domains", "5"})).wait(), 2);
  EXPECT_EQ(PolisProcess(arguments({"10", "--event-abi", "fifo,4l"})).wait(), 2);
  PolisProcess several({"experiment", "--domains", "5", "--event-abi", "fifo,2l", "--output", directory_.path()});
  EXPECT_EQ(several.wait(), 1);
  EXPECT_TRUE(contains(several.output(), "--sweep")) << several.output();
  PolisProcess nothing({"report", directory_.path()});
  EXPECT_EQ(nothing.wait(), 1);
  EXPECT_TRUE(contains(nothing.output(), "results.json")) << nothing.output();
}

}  // namespace
}  // namespace xenopolis
