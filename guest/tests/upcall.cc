// The event callback: every register and the flags survive it, whether it comes at the end of a hypercall or between
// any two instructions, and blocking ends with one.
#include "runtime/upcall.h"

#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "upcall";

namespace {

constexpr uint64_t kMs = 1'000'000;

Port ipi;
volatile uint64_t ipis, timers;
volatile uint64_t tick_ns;  // the timer's handler sets the timer again this far ahead,
volatile uint64_t ticks;    // until there were so many

void handle(Port port) {
  if (port == ipi) ipis = ipis + 1;
  if (port == timer_port()) {
    timers = timers + 1;
    if (timers < ticks) timer::set(now_ns() + tick_ns);
  }
}

// upcall_registers.S. Both answer the number of the first register that changed, or 0.
extern "C" unsigned spin_with_registers(uint64_t turns);
extern "C" unsigned send_with_registers(const evtchn_send_t* call, uint64_t turns);

extern "C" unsigned return_from_window(const char* rip);
extern "C" {
[[gnu::visibility("hidden")]] extern const char window_begin[], window_last[];
}

// An upcall between the other's unmasking and its IRETQ, which chance does not bring about often enough.
void expect_window_closed() {
  for (const char* rip : {window_begin, window_last}) {
    uint64_t hits = upcall::hits_in_window(), before = ipis;
    upcall::disable();
    EXPECT_EQ(events::send(ipi), 0);
    EXPECT_EQ(return_from_window(rip), 0);
    EXPECT_EQ(upcall::hits_in_window(), hits + 1);
    EXPECT_EQ(ipis, before + 1);
    EXPECT_EQ(this_vcpu.evtchn_upcall_mask, 0);
  }
}

void expect_synchronous() {
  // The event is there when the hypercall that caused it returns.
  for (uint64_t i = 1; i <= 100; ++i) {
    EXPECT_EQ(events::send(ipi), 0);
    EXPECT_EQ(ipis, i);
  }
  evtchn_send_t call{.port = ipi};
  EXPECT_EQ(send_with_registers(&call, 2000), 0);
  EXPECT_EQ(ipis, 2100);
}

void expect_masked() {
  upcall::disable();
  uint64_t before = ipis;
  EXPECT_EQ(events::send(ipi), 0);
  EXPECT_EQ(events::send(ipi), 0);
  EXPECT_EQ(ipis, before);
  upcall::enable();
  EXPECT_EQ(ipis, before + 1);
}

// Timer upcalls at whatever instruction, while every register holds something. The time limit is for timers that stop.
void expect_asynchronous(uint64_t period_ns, uint64_t count, uint64_t turns) {
  uint64_t limit = now_ns() + 10'000 * kMs;
  tick_ns = period_ns;
  ticks = timers + count;
  timer::set(now_ns() + tick_ns);
  while (timers < ticks && now_ns() < limit) EXPECT_EQ(spin_with_registers(turns), 0);
  EXPECT(timers >= ticks);
}

void expect_block() {
  for (unsigned i = 0; i < 10; ++i) {
    uint64_t before = timers, due = now_ns() + 2 * kMs;
    EXPECT_EQ(timer::set(due), 0);
    while (timers == before) upcall::block();
    EXPECT(now_ns() >= due);
  }
}

}  // namespace

void test() {
  EXPECT(timer_port() != 0);
  EXPECT_EQ(events::bind_ipi(ipi), 0);
  EXPECT_EQ(upcall::start(handle), 0);
  upcall::enable();
  ipis = 0;
  expect_synchronous();
  expect_masked();
  expect_window_closed();
  expect_asynchronous(kMs / 10, 1000, 200'000);
  // So soon that many come while the upcall before them returns.
  for (uint64_t period_ns = 1000; period_ns <= 40'000; period_ns += 3000) {
    expect_asynchronous(period_ns, 200, 1000);
  }
  expect_block();
  upcall::disable();
  print("upcalls ", upcall::count(), ", in the return window ", upcall::hits_in_window(), "\n");
}

}  // namespace xenopolis::guest
