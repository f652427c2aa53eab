// All the channels there are, or as many as one wants: every event of many comes exactly once. FIFO: more than
// 2-level's 4,096, in the order of sending, and also when the event array grows while they are pending; 2-level: by
// port, up to the last. In the end a reset closes them all. limit=N: opening ends at port N.
#include "runtime/fifo.h"
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "many_ports";

namespace {

constexpr Port kMostPorts = fifo::kMostPages * fifo::kWordsPerPage;
constexpr unsigned kFifoPorts = 6000;        // six pages of the event array; a multiple of a batch
constexpr unsigned kPortsOfOneReset = 1024;  // ports that the hypervisor looks at before others have their turn

Port first, last;  // the ports that this test has opened: without a gap
uint64_t seen[kMostPorts / 64];

unsigned count() {
  return last - first + 1;
}

// IPIs: a port each that is its own sender. -errno of the one that failed.
long open_ports(unsigned wanted) {
  evtchn_bind_ipi_t calls[Multicall::kCapacity];
  for (unsigned opened = 0; opened < wanted; opened += Multicall::kCapacity) {
    for (evtchn_bind_ipi_t& call : calls) {
      call = {};
      common_batch.add(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, &call);
    }
    common_batch.run();
    for (unsigned i = 0; i < Multicall::kCapacity; ++i) {
      if (common_batch.result(i) != 0) return common_batch.result(i);
      if (first == 0) first = calls[i].port;
      EXPECT(calls[i].port == first + opened + i);
      EXPECT(calls[i].port < kMostPorts);
      last = calls[i].port;
    }
  }
  return 0;
}

// Port `i` of an order without repetition: 1,009 is a prime that divides no count of ours.
Port scattered(unsigned i) {
  return first + i * 1009 % count();
}

Port in_order(unsigned i) {
  return first + i;
}

void send_all(Port (*order)(unsigned)) {
  EXPECT(count() % 1009 != 0);
  evtchn_send_t calls[Multicall::kCapacity];
  for (unsigned sent = 0; sent < count();) {
    unsigned calls_made = 0;
    for (; calls_made < Multicall::kCapacity && sent < count(); ++calls_made, ++sent) {
      calls[calls_made].port = order(sent);
      common_batch.add(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &calls[calls_made]);
    }
    common_batch.run();
    for (unsigned i = 0; i < calls_made; ++i) EXPECT_EQ(common_batch.result(i), 0);
  }
}

// False: it has come already.
bool note(Port port) {
  uint64_t bit = uint64_t{1} << port % 64;
  bool is_new = (seen[port / 64] & bit) == 0;
  seen[port / 64] |= bit;
  return is_new;
}

void expect_all_once() {
  for (uint64_t& bits : seen) bits = 0;
  for (unsigned i = 0; i < count(); ++i) {
    Port port = events::take();
    EXPECT(port >= first && port <= last);
    EXPECT(note(port));
  }
  EXPECT_EQ(events::take(), 0);
}

void expect_order_of_sending() {
  for (unsigned i = 0; i < count(); ++i) EXPECT_EQ(events::take(), scattered(i));
  EXPECT_EQ(events::take(), 0);
}

// What was sent while its page was missing comes with the page, in the order of the ports.
void expect_growth() {
  Port port = first;
  for (;;) {
    for (; port <= last && port / fifo::kWordsPerPage < fifo::pages_in_use(); ++port) EXPECT_EQ(events::take(), port);
    EXPECT_EQ(events::take(), 0);
    if (port > last) return;
    EXPECT_EQ(events::cover(port), 0);
  }
}

void expect_fifo() {
  events::leave_uncovered();
  EXPECT_EQ(open_ports(kFifoPorts), 0);
  EXPECT_EQ(fifo::pages_in_use(), 1);
  // Those that have a page come in the order of sending, the others in that of the ports: let it be the same.
  send_all(in_order);
  expect_growth();
  EXPECT(fifo::pages_in_use() > 4);
  send_all(scattered);
  expect_order_of_sending();
  // Several times before they are taken: each comes once.
  send_all(scattered);
  send_all(scattered);
  expect_all_once();
}

void expect_two_level() {
  EXPECT_EQ(open_ports(kMostPorts), -XEN_ENOSPC);
  EXPECT_EQ(last, EVTCHN_2L_NR_CHANNELS - 1);
  send_all(scattered);
  expect_all_once();
  // From the last word and from the first, whose turn is not over.
  for (Port port : {last, first}) {
    EXPECT_EQ(events::send(port), 0);
    EXPECT_EQ(events::take(), port);
  }
}

// More ports than the hypervisor closes at once: it has others run, and then goes on with the same hypercall. Console
// and xenstore lose their channels too; what is printed from here on is found when the domain has ended.
void expect_long_reset() {
  EXPECT(count() > kPortsOfOneReset);
  console::flush();
  EXPECT_EQ(events::reset(), 0);
  EXPECT(events::abi() == EventAbi::kTwoLevel);
  for (Port port = 1; port <= last; ++port) EXPECT_EQ(events::send(port), -XEN_EINVAL);
  Port again;
  EXPECT_EQ(events::bind_ipi(again), 0);
  EXPECT_EQ(again, 1);
  EXPECT_EQ(events::send(again), 0);
  EXPECT_EQ(events::take(), again);
}

void expect_limit(Port limit) {
  events::leave_uncovered();
  EXPECT_EQ(open_ports(kMostPorts), -XEN_ENOSPC);
  EXPECT_EQ(last, limit);
  EXPECT_EQ(events::close(first), 0);
  Port again;
  EXPECT_EQ(events::bind_ipi(again), 0);
  EXPECT_EQ(again, first);
}

}  // namespace

void test() {
  mask_backends();
  uint64_t limit = option::number("limit", 0);
  if (limit != 0) {
    expect_limit(static_cast<Port>(limit));
  } else if (events::abi() == EventAbi::kFifo) {
    expect_fifo();
  } else {
    expect_two_level();
  }
  print("ports ", uint64_t{first}, " to ", uint64_t{last}, "\n");
  if (limit == 0) expect_long_reset();
}

}  // namespace xenopolis::guest
