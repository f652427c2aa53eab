// The one-shot timer: never early, at once if its time has passed, refused if asked to be, silent when stopped.
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "timer";

namespace {

constexpr uint64_t kMs = 1'000'000;

// Sleeps until the timer's event is pending; the bound is for a timer that never fires.
void await_timer(uint64_t longest_ns) {
  Port ports[] = {timer_port()};
  uint64_t end = now_ns() + longest_ns;
  while (!events::pending(ports[0]) && now_ns() < end) events::poll(ports, 1, end);
}

void expect_monotonic() {
  uint64_t last = now_ns(), first = last;
  for (unsigned i = 0; i < 100'000; ++i) {
    uint64_t now = now_ns();
    EXPECT(now >= last);
    last = now;
  }
  EXPECT(last > first);
}

void expect_never_early() {
  for (uint64_t wait : {kMs / 10, kMs, 5 * kMs, 20 * kMs}) {
    events::clear(timer_port());
    uint64_t due = now_ns() + wait;
    EXPECT_EQ(timer::set(due), 0);
    await_timer(wait + 2000 * kMs);
    EXPECT(events::pending(timer_port()));
    EXPECT(now_ns() >= due);
  }
}

// One shot: it does not come a second time.
void expect_once() {
  events::clear(timer_port());
  EXPECT_EQ(timer::set(now_ns() + kMs), 0);
  await_timer(2000 * kMs);
  events::clear(timer_port());
  await_timer(10 * kMs);
  EXPECT(!events::pending(timer_port()));
}

void expect_past_deadlines() {
  events::clear(timer_port());
  EXPECT_EQ(timer::set(now_ns() - kMs), 0);
  await_timer(2000 * kMs);
  EXPECT(events::pending(timer_port()));

  events::clear(timer_port());
  EXPECT_EQ(timer::set(now_ns() - kMs, VCPU_SSHOTTMR_future), -XEN_ETIME);
  await_timer(5 * kMs);
  EXPECT(!events::pending(timer_port()));

  EXPECT_EQ(timer::set(now_ns() + 50 * kMs, VCPU_SSHOTTMR_future), 0);
  await_timer(2000 * kMs);
  EXPECT(events::pending(timer_port()));
}

// On a busy machine a timer may well fire before it is stopped or set anew, hence what is pending then is cleared.
void expect_stop() {
  EXPECT_EQ(timer::set(now_ns() + 5 * kMs), 0);
  EXPECT_EQ(timer::stop(), 0);
  events::clear(timer_port());
  await_timer(15 * kMs);
  EXPECT(!events::pending(timer_port()));
}

// A later setting replaces an earlier one.
void expect_replacement() {
  EXPECT_EQ(timer::set(now_ns() + 2 * kMs), 0);
  uint64_t due = now_ns() + 15 * kMs;
  EXPECT_EQ(timer::set(due), 0);
  events::clear(timer_port());
  await_timer(2000 * kMs);
  EXPECT(events::pending(timer_port()));
  EXPECT(now_ns() >= due);
}

void expect_timer_op() {
  events::clear(timer_port());
  uint64_t due = now_ns() + 3 * kMs;
  EXPECT_EQ(timer::set_with_timer_op(due), 0);
  await_timer(2000 * kMs);
  EXPECT(events::pending(timer_port()));
  EXPECT(now_ns() >= due);

  EXPECT_EQ(timer::set_with_timer_op(now_ns() + 5 * kMs), 0);
  EXPECT_EQ(timer::set_with_timer_op(0), 0);
  events::clear(timer_port());
  await_timer(15 * kMs);
  EXPECT(!events::pending(timer_port()));
}

}  // namespace

void test() {
  expect_monotonic();
  expect_never_early();
  expect_once();
  expect_past_deadlines();
  expect_stop();
  expect_replacement();
  expect_timer_op();
  vcpu_set_singleshot_timer_t call{.timeout_abs_ns = now_ns() + kMs, .flags = 0};
  EXPECT(vcpu_op(VCPUOP_set_singleshot_timer, 77, &call) < 0);
}

}  // namespace xenopolis::guest
