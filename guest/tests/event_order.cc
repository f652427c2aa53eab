// Delivery: FIFO in the order of sending within a priority and by priority between them; 2-level by port number; both
// with masks. Channels from the domain to itself.
#include "runtime/fifo.h"
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "event_order";

namespace {

constexpr unsigned kChannels = 24;

struct Channel {
  Port sender;
  Port receiver;
};

Channel channels[kChannels];

void open_channels() {
  for (Channel& channel : channels) {
    EXPECT_EQ(events::alloc_unbound(DOMID_SELF, channel.receiver), 0);
    EXPECT_EQ(events::bind_interdomain(DOMID_SELF, channel.receiver, channel.sender), 0);
    EXPECT(channel.sender != channel.receiver);
  }
  // Binding may have sent an event.
  while (events::take() != 0) {
  }
}

void expect_order(const unsigned* order, unsigned count) {
  for (unsigned i = 0; i < count; ++i) EXPECT_EQ(events::take(), channels[order[i]].receiver);
  EXPECT_EQ(events::take(), 0);
}

// A scattered order without repetition: 7 and kChannels have no common divisor.
unsigned scattered(unsigned i) {
  return i * 7 % kChannels;
}

void expect_sending_order() {
  unsigned order[kChannels];
  for (unsigned i = 0; i < kChannels; ++i) {
    order[i] = scattered(i);
    EXPECT_EQ(events::send(channels[order[i]].sender), 0);
  }
  expect_order(order, kChannels);
}

// Sent twice before it is taken, it comes once, at its first place.
void expect_merging() {
  const unsigned sent[] = {3, 1, 3, 2, 1};
  for (unsigned i : sent) EXPECT_EQ(events::send(channels[i].sender), 0);
  const unsigned order[] = {3, 1, 2};
  expect_order(order, 3);
}

void expect_priorities() {
  EXPECT_EQ(events::set_priority(channels[5].receiver, EVTCHN_FIFO_PRIORITY_MAX), 0);
  EXPECT_EQ(events::set_priority(channels[6].receiver, 3), 0);
  EXPECT_EQ(events::set_priority(channels[7].receiver, EVTCHN_FIFO_PRIORITY_MIN), 0);
  for (unsigned i : {7u, 0u, 6u, 1u, 5u, 2u}) EXPECT_EQ(events::send(channels[i].sender), 0);
  const unsigned order[] = {5, 6, 0, 1, 2, 7};
  expect_order(order, 6);

  // A more urgent event overtakes a queue that is being drained.
  for (unsigned i : {0u, 1u, 2u}) EXPECT_EQ(events::send(channels[i].sender), 0);
  EXPECT_EQ(events::take(), channels[0].receiver);
  EXPECT_EQ(events::send(channels[5].sender), 0);
  const unsigned rest[] = {5, 1, 2};
  expect_order(rest, 3);

  EXPECT_EQ(events::set_priority(channels[5].receiver, EVTCHN_FIFO_PRIORITY_MIN + 1), -XEN_EINVAL);
  for (unsigned i : {5u, 6u, 7u}) {
    EXPECT_EQ(events::set_priority(channels[i].receiver, EVTCHN_FIFO_PRIORITY_DEFAULT), 0);
  }
}

void expect_port_order() {
  for (unsigned i = 0; i < kChannels; ++i) EXPECT_EQ(events::send(channels[scattered(i)].sender), 0);
  Port last = 0;
  for (unsigned i = 0; i < kChannels; ++i) {
    Port port = events::take();
    EXPECT(port > last);
    last = port;
  }
  EXPECT_EQ(events::take(), 0);
}

void expect_masks() {
  const Channel& channel = channels[4];
  events::mask(channel.receiver);
  EXPECT_EQ(events::send(channel.sender), 0);
  EXPECT(events::pending(channel.receiver));
  EXPECT_EQ(events::take(), 0);
  events::unmask(channel.receiver);
  EXPECT_EQ(events::take(), channel.receiver);
  EXPECT_EQ(events::take(), 0);

  // Unmasking with nothing behind the mask brings nothing.
  events::mask(channel.receiver);
  events::unmask(channel.receiver);
  EXPECT_EQ(events::take(), 0);

  // Masked after it was queued: it waits.
  EXPECT_EQ(events::send(channel.sender), 0);
  events::mask(channel.receiver);
  EXPECT_EQ(events::take(), 0);
  events::unmask(channel.receiver);
  EXPECT_EQ(events::take(), channel.receiver);
}

// A full circle many times over: links and heads are used again.
void expect_endurance() {
  for (unsigned round = 0; round < 200; ++round) {
    unsigned count = round % kChannels + 1;
    for (unsigned i = 0; i < count; ++i) EXPECT_EQ(events::send(channels[(i + round) % kChannels].sender), 0);
    unsigned got = 0;
    while (events::take() != 0) ++got;
    EXPECT_EQ(got, count);
  }
}

void expect_close() {
  Port last = channels[0].receiver;
  EXPECT_EQ(events::send(channels[0].sender), 0);
  EXPECT_EQ(events::close(last), 0);
  while (events::take() != 0) {
  }
  EXPECT(events::close(last) < 0);
  evtchn_status_t status{.dom = DOMID_SELF, .port = last, .status = 99, .vcpu = 0, .u = {}};
  EXPECT_EQ(event_channel_op(EVTCHNOP_status, &status), 0);
  EXPECT_EQ(status.status, EVTCHNSTAT_closed);
}

}  // namespace

void test() {
  open_channels();
  if (events::abi() == EventAbi::kFifo) {
    expect_sending_order();
    expect_merging();
    expect_priorities();
  } else {
    expect_port_order();
  }
  expect_masks();
  expect_endurance();
  expect_close();
}

}  // namespace xenopolis::guest
