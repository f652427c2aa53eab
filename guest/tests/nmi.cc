// NMIs: none without a handler; one that this vCPU sends to itself comes with events masked and though they are masked,
// interrupts nothing for ever, ends a block, and waits while the handler of another runs. With `wait_nmi`, one more
// that somebody else must send.
#include "runtime/traps.h"
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "nmi";

namespace {

constexpr uint64_t kMaskInCs = 1ull << 32;  // the upcall mask that the frame saves beside cs
unsigned nmis;
unsigned at_once;  // further NMIs that the handler sends
bool was_masked, is_masked, nested, in_handler;

long send_nmi() {
  return hypercall<__HYPERVISOR_vcpu_op>(VCPUOP_send_nmi, 0, nullptr);
}

void on_trap(traps::TrapFrame& frame) {
  EXPECT_EQ(frame.vector, traps::kNmi);
  if (in_handler) nested = true;
  in_handler = true;
  ++nmis;
  was_masked = (frame.cs & kMaskInCs) != 0;
  is_masked = this_vcpu.evtchn_upcall_mask != 0;
  if (at_once > 0) {
    --at_once;
    EXPECT_EQ(send_nmi(), 0);
    sched_op(SCHEDOP_yield, nullptr);
  }
  in_handler = false;
}

}  // namespace

void test() {
  if (!domain_self.vcpu_info_moved) skip("its vcpu_info has no fixed place");
  mask_backends();
  EXPECT_EQ(hypercall<__HYPERVISOR_vcpu_op>(VCPUOP_send_nmi, 1, nullptr), -XEN_ENOENT);
  EXPECT_EQ(send_nmi(), 0);
  EXPECT_EQ(traps::start_nmi(on_trap), 0);
  sched_op(SCHEDOP_yield, nullptr);
  EXPECT_EQ(nmis, 0);  // the one from before went nowhere

  for (unsigned round = 1; round <= 100; ++round) {
    EXPECT_EQ(send_nmi(), 0);
    EXPECT_EQ(nmis, round);
    EXPECT(was_masked);
    EXPECT(is_masked);
  }

  nmis = 0;
  at_once = 3;
  EXPECT_EQ(send_nmi(), 0);
  EXPECT_EQ(nmis, 4);
  EXPECT(!nested);

  if (option::given("wait_nmi")) {
    print("waits for an NMI\n");
    console::flush();
    this_vcpu.evtchn_upcall_pending = 0;  // of events from before they were masked
    sched_op(SCHEDOP_block, nullptr);
    EXPECT_EQ(nmis, 5);
    EXPECT(!was_masked);  // a block unmasks
  }
  EXPECT_EQ(traps::stop_nmi(), 0);
  EXPECT_EQ(send_nmi(), 0);
  sched_op(SCHEDOP_yield, nullptr);
}

}  // namespace xenopolis::guest
