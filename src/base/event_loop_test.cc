#include "base/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

namespace xenopolis {
namespace {

unsigned times_left_out(Patience& patience) {
  unsigned times = 0;
  while (!patience.is_worthwhile()) ++times;
  return times;
}

TEST(PatienceTest, IsLostBitByBitAndWonBackSooner) {
  Patience patience;
  times_left_out(patience);
  for (int i = 0; i < 5; ++i) patience.was_worthwhile(true);
  EXPECT_EQ(times_left_out(patience), 0u);
  unsigned before = 0;
  for (int i = 0; i < 4; ++i) {
    patience.was_worthwhile(false);
    const unsigned times = times_left_out(patience);
    EXPECT_GT(times, before);
    before = times;
  }
  patience.was_worthwhile(true);
  EXPECT_LT(times_left_out(patience), before / 2);
}

TEST(PatienceTest, IsNeverLostForGood) {
  Patience patience;
  for (int i = 0; i < 100; ++i) patience.was_worthwhile(false);
  EXPECT_LT(times_left_out(patience), 1'000u);
}

TEST(EventLoopTest, APatientTurnHandlesWhatIsReadyAndWaitsForWhatIsNot) {
  EventLoop loop = *EventLoop::create();
  const Fd bell(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  unsigned rung = 0;
  ASSERT_TRUE(loop.add(bell.get(), EPOLLIN, [&](uint32_t) {
    uint64_t count = 0;
    EXPECT_EQ(read(bell.get(), &count, sizeof(count)), static_cast<ssize_t>(sizeof(count)));
    ++rung;
  }));
  for (unsigned i = 1; i <= 300; ++i) {
    const uint64_t one = 1;
    ASSERT_EQ(write(bell.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
    ASSERT_TRUE(loop.run_once_patiently(-1));
    ASSERT_EQ(rung, i);
  }
  const MonotonicClock clock;
  const uint64_t begin = clock.now_ns();
  ASSERT_TRUE(loop.run_once_patiently(20));
  EXPECT_GE(clock.now_ns() - begin, 19'000'000u);
  EXPECT_EQ(rung, 300u);
}

// Who sleeps on after a timer would not see what its callback has changed: a log was written when somebody else woke
// the daemon.
TEST(EventLoopTest, APatientTurnEndsWithATimer) {
  EventLoop loop = *EventLoop::create();
  const Fd bell(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  ASSERT_TRUE(loop.add(bell.get(), EPOLLIN, [](uint32_t) {}));
  for (unsigned i = 0; i < 1'000; ++i) ASSERT_TRUE(loop.run_once_patiently(-1));
  loop.remove(bell.get());
  const MonotonicClock clock;
  const uint64_t begin = clock.now_ns();
  bool has_run = false;
  loop.at(begin, [&] { has_run = true; });
  ASSERT_TRUE(loop.run_once_patiently(2'000));
  EXPECT_TRUE(has_run);
  EXPECT_LT(clock.now_ns() - begin, 1'500'000'000u);
}

}  // namespace
}  // namespace xenopolis
