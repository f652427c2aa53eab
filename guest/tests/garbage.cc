// Destroys everything it shares with the hypervisor and the backends, and expects to be able to leave. Nobody else may
// notice; a console line after the destruction is not expected, so the verdict comes before it, and the shutdown
// reason tells the rest.
#include "runtime/fifo.h"
#include "runtime/grants.h"
#include "runtime/xenstore.h"
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "garbage";

namespace {

uint64_t random_state = 0x9e3779b97f4a7c15;

// xorshift64: any numbers do, the same in each run.
uint64_t garbage() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

void scribble(volatile void* at, size_t size) {
  auto* words = static_cast<volatile uint32_t*>(at);
  for (size_t i = 0; i < size / sizeof(uint32_t); ++i) words[i] = static_cast<uint32_t>(garbage());
}

}  // namespace

void test() {
  Port receivers[8], senders[8];
  for (unsigned i = 0; i < 8; ++i) {
    EXPECT_EQ(events::alloc_unbound(DOMID_SELF, receivers[i]), 0);
    EXPECT_EQ(events::bind_interdomain(DOMID_SELF, receivers[i], senders[i]), 0);
  }
  grants::prepare(common_batch);
  common_batch.run();
  EXPECT(grants::finish(common_batch));

  print("PASS ", kTestName, " if it powers off\n");
  console::flush();
  sleep_until(now_ns() + 20'000'000);

  for (unsigned round = 0; round < 50; ++round) {
    if (events::abi() == EventAbi::kFifo) {
      scribble(&fifo::control_block(), sizeof(evtchn_fifo_control_block_t));
      scribble(&fifo::word(0), kPageSize);
    } else {
      scribble(&domain::shared_info().evtchn_pending, sizeof(shared_info_t::evtchn_pending));
      scribble(&domain::shared_info().evtchn_mask, sizeof(shared_info_t::evtchn_mask));
    }
    scribble(&grants::entry(0), kPageSize);
    scribble(&xenstore::ring(), sizeof(xenstore_domain_interface));
    scribble(&console::ring(), sizeof(xencons_interface));
    for (Port sender : senders) events::send(sender);
    events::send(xenstore::port());
    events::send(console::port());
    evtchn_unmask_t unmask{.port = receivers[round % 8]};
    event_channel_op(EVTCHNOP_unmask, &unmask);
    events::set_priority(receivers[round % 8], round % 16);
    vcpu_info_t& vcpu = domain::vcpu();
    scribble(&vcpu.evtchn_pending_sel, sizeof vcpu.evtchn_pending_sel);
    scribble(&vcpu.time, sizeof vcpu.time);
    sched_op(SCHEDOP_yield, nullptr);
  }
  for (Port sender : senders) events::close(sender);
  shutdown(SHUTDOWN_poweroff);
}

}  // namespace xenopolis::guest
