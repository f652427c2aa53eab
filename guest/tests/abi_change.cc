// From 2-level to FIFO with events under way, back by EVTCHNOP_reset, and to FIFO again: nothing is lost, nothing comes
// twice, and the console goes on. Starts with event_abi=2l.
#include "runtime/fifo.h"
#include "runtime/two_level.h"
#include "runtime/xenstore.h"
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "abi_change";

namespace {

constexpr unsigned kPorts = 1200;  // beyond the first page of the event array

Port ports[kPorts];

// Roles by number: which ports have an event behind them when the ABI changes, and which are masked then.
bool pending_before(unsigned i) {
  return i % 3 == 0;
}
bool masked(unsigned i) {
  return i % 5 == 0;
}
// Sent between init_control and the page, some a second time.
bool sent_between(unsigned i) {
  return i % 4 == 0;
}

void open_ports(unsigned count) {
  for (unsigned i = 0; i < count; ++i) EXPECT_EQ(events::bind_ipi(ports[i]), 0);
}

// As kernels do: the words of a page are masked before the hypervisor sees it, then unmasked one by one.
void unmask_all(unsigned from, unsigned to) {
  for (unsigned i = from; i < to; ++i) {
    if (!masked(i)) events::unmask(ports[i]);
  }
}

void expect_change() {
  for (unsigned i = 0; i < kPorts; ++i) {
    if (masked(i)) events::mask(ports[i]);
    if (pending_before(i)) EXPECT_EQ(events::send(ports[i]), 0);
  }
  fifo::set_first_word(1u << EVTCHN_FIFO_MASKED);
  EXPECT_EQ(events::change_to_fifo(/*with_page=*/false), 0);
  events::leave_uncovered();
  EXPECT_EQ(events::change_to_fifo(false), -XEN_EINVAL);
  EXPECT(events::abi() == EventAbi::kFifo);
  for (unsigned i = 0; i < kPorts; ++i) {
    if (sent_between(i)) EXPECT_EQ(events::send(ports[i]), 0);
  }
  EXPECT_EQ(events::take(), 0);

  // Two pages, one after the other.
  unsigned done = 0;
  for (unsigned page = 1; page <= 2; ++page) {
    unsigned covered = done;
    EXPECT_EQ(events::cover(page * fifo::kWordsPerPage - 1), 0);
    while (covered < kPorts && ports[covered] / fifo::kWordsPerPage < page) ++covered;
    for (unsigned i = done; i < covered; ++i)
      EXPECT_EQ(events::pending(ports[i]), pending_before(i) || sent_between(i));
    EXPECT_EQ(events::take(), 0);
    unmask_all(done, covered);
    for (unsigned i = done; i < covered; ++i) {
      if ((pending_before(i) || sent_between(i)) && !masked(i)) EXPECT_EQ(events::take(), ports[i]);
    }
    EXPECT_EQ(events::take(), 0);
    done = covered;
  }
  EXPECT_EQ(done, kPorts);
  for (unsigned i = 0; i < kPorts; i += 5) {
    events::unmask(ports[i]);
    EXPECT_EQ(events::take(), pending_before(i) || sent_between(i) ? ports[i] : 0);
  }
}

Port remote_of(Port port) {
  evtchn_status_t status{.dom = DOMID_SELF, .port = port, .status = 0, .vcpu = 0, .u = {}};
  EXPECT_EQ(event_channel_op(EVTCHNOP_status, &status), 0);
  EXPECT_EQ(status.status, EVTCHNSTAT_interdomain);
  return status.u.interdomain.port;
}

// The backends' ends wait for us since the reset closed ours (<xen/event_channel.h>, EVTCHNOP_reset). start_info is
// this domain's own memory, and where the runtime looks for its ports.
void reconnect(const uint32_t& place, Port remote) {
  Port port;
  EXPECT_EQ(events::bind_interdomain(kDom0, remote, port), 0);
  const_cast<uint32_t&>(place) = port;
}

// With events in flight: linked ones, and a masked one.
void expect_reset() {
  const start_info_t& info = *domain_self.info;
  Port console = remote_of(info.console.domU.evtchn), store = remote_of(info.store_evtchn);
  events::mask(ports[7]);
  for (unsigned i = 0; i < 50; ++i) EXPECT_EQ(events::send(ports[i]), 0);
  EXPECT_EQ(events::reset(), 0);
  EXPECT(events::abi() == EventAbi::kTwoLevel);
  EXPECT_EQ(events::take(), 0);
  for (Port port : {ports[0], ports[7], ports[49]}) EXPECT_EQ(events::send(port), -XEN_EINVAL);
  reconnect(info.console.domU.evtchn, console);
  reconnect(info.store_evtchn, store);
  print("reset, and the console goes on\n");
  console::flush();
  EXPECT(!xenstore::read("domid").is_error());
  mask_backends();
}

void expect_ports_work() {
  open_ports(50);
  for (unsigned i = 0; i < 50; ++i) {
    EXPECT(!events::pending(ports[i]));
    EXPECT_EQ(events::send(ports[i]), 0);
    EXPECT_EQ(events::take(), ports[i]);
  }
}

}  // namespace

void test() {
  need_event_abi(EventAbi::kTwoLevel);
  mask_backends();
  open_ports(kPorts);
  expect_change();
  expect_reset();
  expect_ports_work();
  for (unsigned round = 0; round < 3; ++round) {
    fifo::set_first_word(0);
    EXPECT_EQ(events::change_to_fifo(), 0);
    mask_backends();
    expect_ports_work();
    expect_reset();
    expect_ports_work();
  }
}

}  // namespace xenopolis::guest
