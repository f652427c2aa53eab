#include "machine/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "machine/domain_memory.h"
#include "machine/touched.h"

namespace xenopolis::machine {
namespace {

class MachineTest : public testing::Test {
 protected:
  MachineTest() : machine_(Machine::create(40 * kGiB).value()) {}
  Machine machine_;
};

// Runs `body` in a child that then dies by SIGKILL.
template <class Body>
void in_a_child_that_is_killed(Body body) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    body();
    kill(getpid(), SIGKILL);
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
}

TEST_F(MachineTest, SecondMachineInOneProcessIsRefused) {
  const auto second = Machine::create(40 * kGiB);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EEXIST);
}

TEST_F(MachineTest, AnotherProcessSeesTheSameMemoryAtTheSameAddress) {
  auto* page = static_cast<char*>(machine_.frames().allocate_page());
  in_a_child_that_is_killed([&] { std::strcpy(page, "from the child"); });
  EXPECT_STREQ(page, "from the child");
}

TEST_F(MachineTest, NobodyMakesItsMemoryShorter) {
  EXPECT_EQ(ftruncate(machine_.fds().front(), 4096), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST_F(MachineTest, FreedPagesComeBackZeroed) {
  auto* page = static_cast<uint8_t*>(machine_.frames().allocate_page());
  std::memset(page, 0xff, kPageSize);
  machine_.frames().free_page(page);
  auto* again = static_cast<uint8_t*>(machine_.frames().allocate_page());
  EXPECT_EQ(again, page);
  EXPECT_EQ(std::count(again, again + kPageSize, 0), static_cast<long>(kPageSize));
}

TEST_F(MachineTest, ExtentsDoNotOverlapAndAreReusedZeroed) {
  const Extent first = machine_.frames().allocate_extent(1100).value();
  const Extent second = machine_.frames().allocate_extent(1100).value();
  EXPECT_TRUE(first.begin() + first.size() <= second.begin() || second.begin() + second.size() <= first.begin());
  std::memset(first.begin(), 0xff, first.size());
  machine_.frames().free_extent(first);
  const Extent third = machine_.frames().allocate_extent(1050).value();
  EXPECT_EQ(third.first, first.first);
  EXPECT_EQ(std::count(third.begin(), third.begin() + third.size(), 0), static_cast<long>(third.size()));
}

TEST_F(MachineTest, FreeingAnExtentGivesItsMemoryBack) {
  const Extent extent = machine_.frames().allocate_extent(1024).value();
  const uint64_t before = machine_.resident_bytes();
  std::memset(extent.begin(), 1, extent.size());
  EXPECT_GE(machine_.resident_bytes(), before + extent.size());
  machine_.frames().free_extent(extent);
  EXPECT_LE(machine_.resident_bytes(), before + 64 * kKiB);
}

TEST_F(MachineTest, RunningOutOfExtentsIsAnError) {
  const auto too_big = machine_.frames().allocate_extent(64 * kGiB / kPageSize);
  ASSERT_FALSE(too_big);
  EXPECT_EQ(too_big.error().code, ENOMEM);
  ASSERT_FALSE(machine_.frames().allocate_extent(0));
}

TEST_F(MachineTest, LockOfADeadHolderIsHandedOverWithARepair) {
  auto* lock = static_cast<RobustLock*>(machine_.frames().allocate_page());
  lock->init();
  in_a_child_that_is_killed([&] { lock->lock(); });
  int repairs = 0;
  {
    RobustGuard guard(*lock, [&] { ++repairs; });
  }
  {
    RobustGuard guard(*lock, [&] { ++repairs; });
  }
  EXPECT_EQ(repairs, 1);
}

TEST_F(MachineTest, AllocatorWorksAfterAnAllocatingProcessWasKilledAnywhere) {
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      for (;;) {
        void* page = machine_.frames().allocate_page();
        machine_.frames().free_page(page);
      }
    }
    usleep(static_cast<useconds_t>(500 + i * 37));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    void* a = machine_.frames().allocate_page();
    void* b = machine_.frames().allocate_page();
    ASSERT_NE(a, nullptr);
    ASSERT_NE(a, b);
    machine_.frames().free_page(a);
    machine_.frames().free_page(b);
  }
}

TEST_F(MachineTest, GuestMayNameOnlyItsRam) {
  DomainMemory& memory = memory_of(7);
  memory.extent = machine_.frames().allocate_extent(1050).value();
  memory.ram_pages = 1024;
  EXPECT_EQ(memory.ram_page(0), memory.extent.begin());
  EXPECT_NE(memory.ram_page(1023), nullptr);
  EXPECT_EQ(memory.ram_page(1024), nullptr);
  EXPECT_NE(memory.page(1049), nullptr);
  EXPECT_EQ(memory.page(1050), nullptr);
  EXPECT_EQ(memory.page(~0ull), nullptr);
}

// How another process, which reaches on demand, ends that runs `body`.
template <class Body>
int in_a_cell(const Machine& machine, Body&& body) {
  const pid_t child = fork();
  if (child == 0) {
    // The child has the machine of its parent mapped; it needs its own view at the same address.
    std::vector<Fd> fds;
    for (const int fd : machine.fds()) fds.emplace_back(dup(fd));
    Fd memfd = std::move(fds.front());
    fds.erase(fds.begin());
    const uint64_t size = header().size;
    munmap(reinterpret_cast<void*>(kMachineBase), size);
    Machine cell = Machine::attach(std::move(memfd), std::move(fds), Reach::kOnDemand).value();
    _exit(body(cell));
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

TEST_F(MachineTest, CellReachesAnExtentOnDemandAndLetsItGo) {
  const Extent extent = machine_.frames().allocate_extent(1050).value();
  extent.begin()[5] = 42;
  const int status = in_a_cell(machine_, [&](Machine& cell) {
    if (!cell.reach(extent) || !cell.reach(extent) || extent.begin()[5] != 42) return 1;
    extent.begin()[6] = 43;
    cell.release(extent);
    signal(SIGSEGV, [](int) { _exit(0); });  // out of reach: as it should be
    return extent.begin()[6] == 43 ? 2 : 3;
  });
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(extent.begin()[6], 43);
}

// A stranger's memory stays mapped when it ends, and a larger domain may begin where it was.
TEST_F(MachineTest, CellReachesAllOfAnExtentThatLiesWhereASmallerOneWas) {
  const Extent smaller = machine_.frames().allocate_extent(1025).value();
  machine_.frames().free_extent(smaller);
  const Extent larger = machine_.frames().allocate_extent(2048).value();
  ASSERT_EQ(smaller.first, larger.first);
  const int status = in_a_cell(machine_, [&](Machine& cell) {
    if (!cell.reach(smaller) || !cell.reach(larger)) return 1;
    larger.begin()[larger.size() - 1] = 44;
    return 0;
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(larger.begin()[larger.size() - 1], 44);
}

TEST_F(MachineTest, RingWakesASleepingRunner) {
  Doorbells& bells = machine_.doorbells();
  uint64_t marks = 0;
  std::thread runner([&] {
    bells.adopt(3);
    while (marks == 0) {
      bells.sleep(3, std::nullopt);
      marks = bells.take(3);
    }
  });
  bells.ring(3, 17);
  runner.join();
  EXPECT_EQ(marks, 1ull << 17);
}

TEST_F(MachineTest, RingForADom0VcpuMakesItsEventfdReadableOncePerTake) {
  Doorbells& bells = machine_.doorbells();
  const DoorbellId id = dom0_doorbell(1);
  bells.ring(id, 0);
  bells.ring(id, 0);
  uint64_t count = 0;
  ASSERT_EQ(read(machine_.dom0_eventfd(1), &count, sizeof count), static_cast<ssize_t>(sizeof count));
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(bells.take(id), 1u);
  bells.ring(id, 0);
  pollfd poll_fd{machine_.dom0_eventfd(1), POLLIN, 0};
  EXPECT_EQ(poll(&poll_fd, 1, 0), 1);
}

TEST_F(MachineTest, GuestIsNotEnteredWhileItsEventWaits) {
  Doorbells& bells = machine_.doorbells();
  bells.adopt(0);
  EXPECT_TRUE(bells.enter_guest(0, 5));
  bells.leave_guest(0);
  bells.ring(0, 6);
  EXPECT_TRUE(bells.enter_guest(0, 5));
  bells.leave_guest(0);
  bells.ring(0, 5);
  EXPECT_FALSE(bells.enter_guest(0, 5));
}

// The kick signal, blocked in this thread, so that it can be seen to be pending.
class PendingKick {
 public:
  PendingKick() {
    sigemptyset(&signals_);
    sigaddset(&signals_, Doorbells::kick_signal());
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    // A signal whose action is to be ignored does not become pending.
    signal(Doorbells::kick_signal(), [](int) {});
  }
  ~PendingKick() {
    signal(Doorbells::kick_signal(), SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  bool take() {
    const timespec now{};
    return sigtimedwait(&signals_, nullptr, &now) == Doorbells::kick_signal();
  }

 private:
  sigset_t signals_{};
  sigset_t before_{};
};

TEST_F(MachineTest, EventForTheRunningVcpuKicksItsRunner) {
  Doorbells& bells = machine_.doorbells();
  PendingKick kick;
  bells.adopt(0);
  ASSERT_TRUE(bells.enter_guest(0, 5));
  bells.ring(0, 6);
  EXPECT_FALSE(kick.take());
  bells.ring(0, 5);
  EXPECT_TRUE(kick.take());
  bells.leave_guest(0);
  bells.ring(0, 5);
  EXPECT_FALSE(kick.take()) << "it does not execute guest code any more";
}

TEST_F(MachineTest, TellsWhichElementsOfATableWereUsedWithoutUsingTheOthers) {
  constexpr uint64_t kStride = kPageSize / 2;
  for (const uint32_t number : {5, 100, 32'000}) {
    table_element<uint64_t, kDomainRecordOffset, kStride>(number) = 1;
  }
  const uint64_t before = machine_.resident_bytes();
  // The neighbours are in the same pages.
  EXPECT_THAT(touched(machine_, kDomainRecordOffset, kStride, kDomainSlots),
              testing::ElementsAre(4, 5, 100, 101, 32'000, 32'001));
  EXPECT_THAT(touched(machine_, kDomainRecordOffset, kStride, 101), testing::ElementsAre(4, 5, 100));
  EXPECT_THAT(touched(machine_, kGrantOffset, kGrantStride, kDomainSlots), testing::IsEmpty());
  EXPECT_EQ(machine_.resident_bytes(), before);
}

}  // namespace
}  // namespace xenopolis::machine
