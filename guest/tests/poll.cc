// SCHEDOP_poll: ends when a port is pending, masked or not, now or later; when an upcall is due; at its time and never
// before; and refuses what is no port.
#include "runtime/upcall.h"
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "poll";

namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr unsigned kMostPolled = 128;

Port silent, other;  // IPIs: silent unless this test sends
volatile uint64_t handled;

long poll(const Port* list, unsigned count, uint64_t timeout) {
  sched_poll_t call{};
  set_xen_guest_handle(call.ports, const_cast<Port*>(list));
  call.nr_ports = count;
  call.timeout = timeout;
  return sched_op(SCHEDOP_poll, &call);
}

void expect_time() {
  for (uint64_t wait : {kMs / 10, kMs, 10 * kMs}) {
    uint64_t due = now_ns() + wait;
    while (now_ns() < due) EXPECT_EQ(poll(&silent, 1, due), 0);
    due = now_ns() + wait;
    while (now_ns() < due) EXPECT_EQ(poll(nullptr, 0, due), 0);
  }
  // Times that have passed, and what is negative for Xen's clock.
  for (uint64_t past : {uint64_t{1}, now_ns() - 1, uint64_t{1} << 63, ~uint64_t{0}}) {
    EXPECT_EQ(poll(&silent, 1, past), 0);
    EXPECT_EQ(poll(nullptr, 0, past), 0);
  }
  EXPECT(!events::pending(silent));
}

// For ever, because it does not sleep.
void expect_pending_before() {
  EXPECT_EQ(events::send(silent), 0);
  EXPECT_EQ(poll(&silent, 1, 0), 0);
  Port both[] = {other, silent};
  EXPECT_EQ(poll(both, 2, 0), 0);
  EXPECT(events::pending(silent));
  events::mask(silent);
  EXPECT_EQ(poll(both, 2, 0), 0);
  // In the midst of a full list.
  static Port list[kMostPolled];
  for (unsigned i = 0; i < kMostPolled; ++i) list[i] = i == 77 ? silent : other;
  EXPECT_EQ(poll(list, kMostPolled, 0), 0);
  events::clear(silent);
  events::unmask(silent);
}

void expect_wake(const Port* list, unsigned count) {
  Port timer = timer_port();
  events::clear(timer);
  uint64_t due = now_ns() + 2 * kMs;
  EXPECT_EQ(timer::set(due), 0);
  while (!events::pending(timer)) EXPECT_EQ(poll(list, count, 0), 0);
  EXPECT(now_ns() >= due);
  events::clear(timer);
}

void expect_wakes() {
  Port timer = timer_port();
  Port both[] = {silent, timer};
  static Port list[kMostPolled];
  for (Port& port : list) port = silent;
  list[kMostPolled - 1] = timer;
  for (unsigned masked = 0; masked < 2; ++masked) {
    if (masked != 0) events::mask(timer);
    expect_wake(&timer, 1);
    expect_wake(both, 2);
    expect_wake(list, kMostPolled);
  }
  events::unmask(timer);
  while (events::take() != 0) {
  }
}

// Unmasked upcalls end a poll, whatever port it is.
void expect_upcall() {
  uint64_t before = handled;
  upcall::enable();
  EXPECT_EQ(timer::set(now_ns() + 2 * kMs), 0);
  while (handled == before) EXPECT_EQ(poll(&silent, 1, 0), 0);
  // Nothing is looked at when an upcall is due: it comes instead.
  upcall::disable();
  EXPECT_EQ(events::send(other), 0);
  this_vcpu.evtchn_upcall_mask = 0;
  before = handled;
  Port bad = 0xffffffff;
  EXPECT_EQ(poll(&bad, 1, 0), 0);
  EXPECT_EQ(handled, before + 1);
  upcall::disable();
}

void expect_refusals() {
  Port closed;
  EXPECT_EQ(events::bind_ipi(closed), 0);
  EXPECT_EQ(events::close(closed), 0);
  for (Port bad : {Port{0}, closed, Port{131'071}, Port{0xffffffff}}) {
    EXPECT_EQ(poll(&bad, 1, 1), -XEN_EINVAL);
    Port list[] = {silent, bad, other};
    EXPECT_EQ(poll(list, 3, 1), -XEN_EINVAL);
    // What is pending before it ends the search.
    EXPECT_EQ(events::send(silent), 0);
    EXPECT_EQ(poll(list, 3, 0), 0);
    EXPECT_EQ(events::take(), silent);
  }
  static Port many[kMostPolled + 1];
  EXPECT_EQ(poll(many, kMostPolled + 1, 1), -XEN_EINVAL);
}

}  // namespace

void test() {
  mask_backends();
  EXPECT_EQ(events::bind_ipi(silent), 0);
  EXPECT_EQ(events::bind_ipi(other), 0);
  expect_time();
  expect_pending_before();
  expect_wakes();
  EXPECT_EQ(upcall::start([](Port) { handled = handled + 1; }), 0);
  expect_upcall();
  expect_refusals();
}

}  // namespace xenopolis::guest
