// Ports that are closed with their event under way and used again: what comes afterwards is the new channel's, and a
// port that is still in a queue is not given out (Xen since 4.10, "is busy").
#include "runtime/fifo.h"
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "close_reuse";

namespace {

constexpr unsigned kPorts = 40;

bool among(Port port, const Port* list, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    if (list[i] == port) return true;
  }
  return false;
}

// All of them pending, every other one closed. The rest comes, in order.
void expect_survivors(Port* ports) {
  for (unsigned i = 0; i < kPorts; ++i) EXPECT_EQ(events::bind_ipi(ports[i]), 0);
  for (unsigned i = 0; i < kPorts; ++i) EXPECT_EQ(events::send(ports[i]), 0);
  for (unsigned i = 0; i < kPorts; i += 2) EXPECT_EQ(events::close(ports[i]), 0);
}

// Opened anew before the guest has looked at its queues.
void expect_no_linked_port_is_reused() {
  Port old[kPorts], fresh[kPorts / 2];
  expect_survivors(old);
  for (Port& port : fresh) {
    EXPECT_EQ(events::bind_ipi(port), 0);
    if (events::abi() == EventAbi::kFifo) EXPECT(!among(port, old, kPorts));
    EXPECT(!events::pending(port));
  }
  // By port in 2-level, where those opened last may come in between; but only the survivors come.
  unsigned came = 0;
  for (Port port = events::take(); port != 0; port = events::take()) {
    EXPECT(among(port, old, kPorts));
    EXPECT(!among(port, fresh, kPorts / 2));
    ++came;
  }
  EXPECT_EQ(came, kPorts / 2);
  for (Port port : fresh) EXPECT_EQ(events::close(port), 0);
  for (unsigned i = 1; i < kPorts; i += 2) EXPECT_EQ(events::close(old[i]), 0);
}

// Unlinked by now: the same numbers come back after a while, quiet, and work.
void expect_reuse() {
  Port highest = 0;
  for (unsigned round = 0; round < 50; ++round) {
    Port ports[kPorts];
    for (Port& port : ports) {
      EXPECT_EQ(events::bind_ipi(port), 0);
      EXPECT(!events::pending(port));
      if (round == 0 && port > highest) highest = port;
    }
    EXPECT_EQ(events::take(), 0);
    for (Port port : ports) EXPECT_EQ(events::send(port), 0);
    unsigned came = 0;
    while (events::take() != 0) ++came;
    EXPECT_EQ(came, kPorts);
    for (Port port : ports) {
      EXPECT(port <= highest + 2 * kPorts);
      EXPECT_EQ(events::close(port), 0);
    }
  }
}

// A port that was urgent once is not when it is used again.
void expect_default_priority() {
  Port urgent, normal;
  EXPECT_EQ(events::bind_ipi(urgent), 0);
  EXPECT_EQ(events::set_priority(urgent, EVTCHN_FIFO_PRIORITY_MAX), 0);
  EXPECT_EQ(events::close(urgent), 0);
  EXPECT_EQ(events::set_priority(urgent, EVTCHN_FIFO_PRIORITY_MAX), -XEN_EACCES);
  EXPECT_EQ(events::bind_ipi(normal), 0);
  Port again = normal;
  Port opened[200];
  unsigned count = 0;
  while (again != urgent && count < 200) {
    EXPECT_EQ(events::bind_ipi(again), 0);
    opened[count++] = again;
  }
  if (again == normal) {  // the number came back at once
    EXPECT_EQ(again, urgent);
    EXPECT_EQ(events::bind_ipi(normal), 0);
  }
  EXPECT_EQ(again, urgent);
  EXPECT_EQ(events::send(normal), 0);
  EXPECT_EQ(events::send(again), 0);
  EXPECT_EQ(events::take(), normal);
  EXPECT_EQ(events::take(), again);
  for (unsigned i = 0; i < count; ++i) events::close(opened[i]);
}

// The other end of a closed channel: unbound, silent, and can be bound anew.
void expect_other_end() {
  Port offered, bound;
  EXPECT_EQ(events::alloc_unbound(DOMID_SELF, offered), 0);
  EXPECT_EQ(events::bind_interdomain(DOMID_SELF, offered, bound), 0);
  EXPECT_EQ(events::send(bound), 0);
  EXPECT_EQ(events::close(bound), 0);
  while (events::take() != 0) {
  }
  EXPECT_EQ(events::send(offered), 0);
  EXPECT_EQ(events::take(), 0);
  EXPECT_EQ(events::bind_interdomain(DOMID_SELF, offered, bound), 0);
  EXPECT_EQ(events::take(), bound);
  EXPECT_EQ(events::send(offered), 0);
  EXPECT_EQ(events::take(), bound);
}

}  // namespace

void test() {
  mask_backends();
  expect_no_linked_port_is_reused();
  expect_reuse();
  if (events::abi() == EventAbi::kFifo) expect_default_priority();
  expect_other_end();
}

}  // namespace xenopolis::guest
