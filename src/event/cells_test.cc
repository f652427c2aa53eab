// Cells map guest memory on demand (docs/decisions/0006): an event for a domain of another cell is the first that its
// cell has to do with that memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "event/test_world.h"

namespace xenopolis::event {
namespace {

// Runs `body` in a process that sees the machine as a cell does that has built no domain yet.
void in_another_cell(World& world, const std::function<void(EventChannels&)>& body) {
  const pid_t child = fork();
  if (child == 0) {
    std::vector<Fd> fds;
    for (const int fd : world.machine.fds()) fds.emplace_back(dup(fd));
    Fd memfd = std::move(fds.front());
    fds.erase(fds.begin());
    munmap(reinterpret_cast<void*>(machine::kMachineBase), 40 * machine::kGiB);
    auto machine = machine::Machine::attach(std::move(memfd), std::move(fds), machine::Reach::kOnDemand);
    if (!machine) _exit(1);
    EventChannels channels(*machine);
    body(channels);
    _exit(testing::Test::HasFailure() ? 2 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

class Cells : public testing::TestWithParam<Abi> {
 protected:
  Cells() : channels_(world_.channels) {
    world_.add_guest(1, GetParam());
    world_.add_guest(2, GetParam(), {.vcpus = 2});
  }
  World world_;
  EventChannels& channels_;
};

TEST_P(Cells, AnEventReachesADomainOfAnotherCell) {
  const auto [ours, theirs] = world_.connect(1, 2);
  GuestSide(channels_, 1).take();
  GuestSide receiver(channels_, 2);
  channels_.set_doorbell(2, 0, 5, 9);
  in_another_cell(world_, [ours = ours](EventChannels& cell) {
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(cell.send(1, ours));
  });
  EXPECT_EQ(world_.machine.doorbells().take(5), 1ull << 9);
  EXPECT_THAT(receiver.take(), testing::ElementsAre(theirs));
  EXPECT_EQ(channels_.counters(2).events_delivered, 1u);
}

TEST_P(Cells, ADomainOfAnotherCellCanBeBoundToAndLeft) {
  const Port offered = channels_.alloc_unbound(2, 2, 1).value();
  in_another_cell(world_, [offered](EventChannels& cell) {
    const Port bound = cell.bind_interdomain(1, 2, offered).value();
    EXPECT_TRUE(cell.send(1, bound));
    EXPECT_TRUE(cell.close(1, bound));
  });
  EXPECT_THAT(GuestSide(channels_, 2).take(), testing::ElementsAre(offered));
  EXPECT_EQ(channels_.status(2, 2, offered)->status, uint32_t{EVTCHNSTAT_unbound});
}

// The memory of a domain that has ended belongs to somebody else, or to nobody: a cell that had sent there must not
// write it.
TEST_P(Cells, MemoryOfAnEndedDomainIsNotTouchedAndThatOfItsSuccessorIs) {
  const auto [ours, theirs] = world_.connect(1, 2);
  int to_cell[2], to_us[2];
  ASSERT_EQ(pipe(to_cell), 0);
  ASSERT_EQ(pipe(to_us), 0);
  const auto tell = [](int fd) { return write(fd, "x", 1) == 1; };
  const auto hear = [](int fd) {
    char byte = 0;
    return read(fd, &byte, 1) == 1;
  };
  const pid_t cell = fork();
  if (cell == 0) {
    in_another_cell(world_, [&, ours = ours](EventChannels& channels) {
      EXPECT_TRUE(channels.send(1, ours));
      EXPECT_TRUE(tell(to_us[1]) && hear(to_cell[0]));
      EXPECT_TRUE(channels.send(1, ours)) << "to nobody: its other end is gone";
      EXPECT_TRUE(tell(to_us[1]) && hear(to_cell[0]));
      const Port again = channels.bind_interdomain(1, 2, 1).value();
      EXPECT_TRUE(channels.send(1, again));
    });
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  ASSERT_TRUE(hear(to_us[0]));
  EXPECT_THAT(GuestSide(channels_, 2).take(), testing::ElementsAre(theirs));
  const machine::Extent old = machine::memory_of(2).extent;
  channels_.destroy_domain(2);
  world_.machine.frames().free_extent(old);
  ASSERT_TRUE(tell(to_cell[1]) && hear(to_us[0]));
  EXPECT_EQ(std::count(old.begin(), old.begin() + kPageSize * kRamPages, 0), int64_t{kPageSize} * kRamPages);
  world_.add_guest(2, GetParam());
  const Port offered = channels_.alloc_unbound(2, 2, 1).value();
  ASSERT_EQ(offered, 1u);
  ASSERT_TRUE(tell(to_cell[1]));
  int status = 0;
  ASSERT_EQ(waitpid(cell, &status, 0), cell);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_THAT(GuestSide(channels_, 2).take(), testing::ElementsAre(offered));
  for (const int fd : {to_cell[0], to_cell[1], to_us[0], to_us[1]}) ::close(fd);
}

INSTANTIATE_TEST_SUITE_P(Abis, Cells, kEveryAbi, name_of_abi);

}  // namespace
}  // namespace xenopolis::event
