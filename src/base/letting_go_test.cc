#include "base/letting_go.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"

namespace xenopolis {
namespace {

constexpr size_t kPage = 4096;
constexpr uint64_t kDelayNs = 20'000'000;

class LettingGoTest : public testing::Test {
 protected:
  static std::span<uint8_t> map_file() {
    Fd file(memfd_create("letting-go-test", MFD_CLOEXEC));
    EXPECT_EQ(ftruncate(file.get(), kBytes), 0);
    void* base = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file.get(), 0);
    EXPECT_NE(base, MAP_FAILED);
    return {static_cast<uint8_t*>(base), kBytes};
  }
  ~LettingGoTest() override { munmap(memory_.data(), memory_.size()); }

  // The process's page table holds the page (mincore(2) would tell of the file's).
  bool is_mapped(size_t offset) {
    Fd pagemap(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    uint64_t entry = 0;
    const auto at = static_cast<off_t>(reinterpret_cast<uint64_t>(memory_.data() + offset) / kPage * sizeof(entry));
    EXPECT_EQ(pread(pagemap.get(), &entry, sizeof(entry), at), static_cast<ssize_t>(sizeof(entry)));
    return entry >> 63 != 0;
  }

  static constexpr size_t kBytes = 3 * LettingGo::kSlice;
  std::span<uint8_t> memory_ = map_file();
  EventLoop loop_ = *EventLoop::create();
  std::unique_ptr<LettingGo> letting_go_ = *LettingGo::create(loop_, {memory_}, kDelayNs);
};

TEST_F(LettingGoTest, WhatWasTouchedIsUnmappedAndNotLost) {
  const size_t offsets[] = {0, LettingGo::kSlice + 17 * kPage, kBytes - kPage};
  for (const size_t offset : offsets) memory_[offset] = 42;
  letting_go_->turn();
  for (const size_t offset : offsets) EXPECT_TRUE(is_mapped(offset)) << offset;
  ASSERT_TRUE(loop_.run_once(10'000));
  while (letting_go_->turn()) {
  }
  for (const size_t offset : offsets) EXPECT_FALSE(is_mapped(offset)) << offset;
  for (const size_t offset : offsets) EXPECT_EQ(memory_[offset], 42) << offset;
}

TEST_F(LettingGoTest, OneTurnLetsGoOfOneSlice) {
  letting_go_->turn();
  ASSERT_TRUE(loop_.run_once(10'000));
  EXPECT_TRUE(letting_go_->turn());
  EXPECT_TRUE(letting_go_->turn());
  EXPECT_FALSE(letting_go_->turn());
}

TEST_F(LettingGoTest, ALoopThatSleepsIsNotWoken) {
  letting_go_->turn();
  ASSERT_TRUE(loop_.run_once(10'000));
  while (letting_go_->turn()) {
  }
  const MonotonicClock clock;
  const uint64_t begin = clock.now_ns();
  ASSERT_TRUE(loop_.run_once(100));
  EXPECT_GE(clock.now_ns() - begin, 4 * kDelayNs);
}

}  // namespace
}  // namespace xenopolis
