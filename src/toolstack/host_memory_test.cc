#include "toolstack/host_memory.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace xenopolis::toolstack {
namespace {

// A made-up /proc and /sys.
class HostMemoryTest : public ::testing::Test {
 protected:
  HostMemoryTest() {
    std::string path = ::testing::TempDir() + "host-memory-XXXXXX";
    root_ = mkdtemp(path.data());
    write("/proc/meminfo", "MemTotal:       1000000 kB\nMemFree:  1 kB\nMemAvailable:    800000 kB\n");
  }
  ~HostMemoryTest() override { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  HostMemory memory() { return host_memory(root_).value(); }

  std::string root_;
};

TEST_F(HostMemoryTest, WithoutLimitsItIsThatOfTheMachine) {
  write("/proc/self/cgroup", "0::/\n");
  write("/sys/fs/cgroup/memory.stat", "inactive_file 4096\n");
  EXPECT_EQ(memory().total_kib, 1'000'000u);
  EXPECT_EQ(memory().available_kib, 800'000u);
}

TEST_F(HostMemoryTest, TheTightestGroupAboveCounts) {
  write("/proc/self/cgroup", "0::/slice/unit\n");
  write("/sys/fs/cgroup/slice/unit/memory.max", "max\n");
  write("/sys/fs/cgroup/slice/unit/memory.current", "1\n");
  write("/sys/fs/cgroup/slice/memory.max", "104857600\n");
  write("/sys/fs/cgroup/slice/memory.current", "52428800\n");
  write("/sys/fs/cgroup/slice/memory.stat", "anon 7\ninactive_file 10485760\nactive_file 1\n");
  EXPECT_EQ(memory().total_kib, 100u * 1024);
  EXPECT_EQ(memory().available_kib, 60u * 1024) << "what is cached may go";
}

TEST_F(HostMemoryTest, VersionOneHasFilesOfItsOwn) {
  write("/proc/self/cgroup", "5:cpu,memory:/box\n0::/\n");
  write("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "104857600\n");
  write("/sys/fs/cgroup/memory/box/memory.usage_in_bytes", "209715200\n");
  EXPECT_EQ(memory().available_kib, 0u) << "more is used than there may be";
  write("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(memory().available_kib, 800'000u);
}

TEST_F(HostMemoryTest, AMachineWithoutFiguresIsAnError) {
  write("/proc/meminfo", "MemTotal: 5 kB\n");
  EXPECT_FALSE(host_memory(root_));
}

}  // namespace
}  // namespace xenopolis::toolstack
