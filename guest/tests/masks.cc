// Masks with upcalls: a masked event raises none, EVTCHNOP_unmask delivers it before it returns, and an event that was
// there before the mask is not lost behind it.
#include "runtime/upcall.h"
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "masks";

namespace {

constexpr unsigned kPorts = 70;  // more than one word of 2-level's bitmaps

Port ports[kPorts];
volatile uint64_t counts[kPorts];

void handle(Port port) {
  for (unsigned i = 0; i < kPorts; ++i) {
    if (ports[i] == port) counts[i] = counts[i] + 1;
  }
}

long unmask_always(Port port) {
  evtchn_unmask_t call{.port = port};
  return event_channel_op(EVTCHNOP_unmask, &call);
}

void expect_masked_events_wait() {
  for (unsigned i = 0; i < kPorts; i += 2) events::mask(ports[i]);
  for (unsigned i = 0; i < kPorts; ++i) EXPECT_EQ(events::send(ports[i]), 0);
  for (unsigned i = 0; i < kPorts; ++i) {
    EXPECT_EQ(counts[i], i % 2);
    EXPECT_EQ(events::pending(ports[i]), i % 2 == 0);
  }
  // One by one, in no particular order.
  for (unsigned i = 0; i < kPorts; ++i) {
    unsigned at = i * 26 % kPorts / 2 * 2;
    uint64_t before = counts[at];
    EXPECT_EQ(unmask_always(ports[at]), 0);
    EXPECT_EQ(counts[at], 1);
    EXPECT(before <= 1);
  }
  for (unsigned i = 0; i < kPorts; i += 2) unmask_always(ports[i]);
  for (unsigned i = 0; i < kPorts; ++i) EXPECT_EQ(counts[i], 1);
}

void expect_nothing_comes_of_nothing() {
  uint64_t upcalls = upcall::count();
  events::mask(ports[3]);
  EXPECT_EQ(unmask_always(ports[3]), 0);
  EXPECT_EQ(unmask_always(ports[3]), 0);
  EXPECT_EQ(upcall::count(), upcalls);
  EXPECT_EQ(unmask_always(0), 0);
  EXPECT_EQ(unmask_always(0xffffffff), -XEN_EINVAL);
  EXPECT_EQ(upcall::count(), upcalls);
}

// Pending first, masked while upcalls are off: the upcall that comes finds it masked.
void expect_masked_after_it_came() {
  for (unsigned round = 0; round < 20; ++round) {
    uint64_t before = counts[5], others = counts[6];
    upcall::disable();
    EXPECT_EQ(events::send(ports[5]), 0);
    EXPECT_EQ(events::send(ports[6]), 0);
    events::mask(ports[5]);
    upcall::enable();
    EXPECT_EQ(counts[5], before);
    EXPECT_EQ(counts[6], others + 1);
    events::unmask(ports[5]);
    EXPECT_EQ(counts[5], before + 1);
  }
}

// Unmasked by the guest itself while nothing is pending: the next event comes.
void expect_quiet_unmask() {
  uint64_t before = counts[9];
  events::mask(ports[9]);
  events::unmask(ports[9]);
  EXPECT_EQ(events::send(ports[9]), 0);
  EXPECT_EQ(counts[9], before + 1);
}

}  // namespace

void test() {
  mask_backends();
  for (Port& port : ports) EXPECT_EQ(events::bind_ipi(port), 0);
  EXPECT_EQ(upcall::start(handle), 0);
  upcall::enable();
  expect_masked_events_wait();
  expect_nothing_comes_of_nothing();
  expect_masked_after_it_came();
  expect_quiet_unmask();
  upcall::disable();
}

}  // namespace xenopolis::guest
