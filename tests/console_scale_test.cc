// 10,000 hosted domains, whose console daemon is killed while they come up and afterwards.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/clock.h"
#include "polis_process.h"
#include "temporary_directory.h"

namespace xenopolis {
namespace {

using testing::PolisProcess;
using testing::TemporaryDirectory;

constexpr unsigned kDomains = 10'000;
constexpr uint64_t kPatienceNs = 30'000'000'000;

// What the citizens say when they have come up.
std::string line_of(unsigned domid) {
  const std::string number = std::to_string(domid);
  return "citizen citizen-" + number + " domid " + number + " up\n";
}
std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ConsoleScaleTest, TenThousandHostedDomainsAreLoggedOnceThoughTheDaemonIsKilled) {
  TemporaryDirectory directory;
  PolisProcess polis({"experiment", "--backend", "hosted", "--domains", std::to_string(kDomains), "--seconds", "60",
                      "--output", directory.path(), "--floor-vms", "0"});
  pid_t killed = 0;
  const auto kill_daemon = [&] {
    for (const pid_t daemon : polis.descendants("polis-consoled")) kill(killed = daemon, SIGKILL);
  };
  for (const char* when : {"domains up: 2", "domains up: 7", "steady state"}) {
    ASSERT_TRUE(polis.wait_for_output(when)) << polis.output();
    kill_daemon();
  }
  const std::filesystem::path logs = polis.run_directory() + "/console";
  const MonotonicClock clock;
  unsigned domid = 1;
  for (const uint64_t begin = clock.now_ns(); domid <= kDomains && clock.now_ns() - begin < kPatienceNs;) {
    if (contents(logs / ("citizen-" + std::to_string(domid) + ".log")) == line_of(domid)) {
      ++domid;
    } else {
      poll(nullptr, 0, 5);
    }
  }
  EXPECT_EQ(domid, kDomains + 1) << "its log has " << contents(logs / ("citizen-" + std::to_string(domid) + ".log"));
  const std::vector<pid_t> daemons = polis.descendants("polis-consoled");
  ASSERT_EQ(daemons.size(), 1u);
  EXPECT_NE(daemons[0], killed);
  const std::filesystem::directory_iterator descriptors("/proc/" + std::to_string(daemons[0]) + "/fd");
  EXPECT_LT(std::distance(descriptors, {}), 64 + 64);
  polis.signal(SIGINT);
  EXPECT_EQ(polis.wait(), 130) << polis.output();
}

}  // namespace
}  // namespace xenopolis
