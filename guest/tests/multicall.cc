// Batches: each entry gets its own answer, in order, and a bad one does not stop the rest.
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "multicall";

void test() {
  static multicall_entry_t entries[16];

  // The answers are those of the calls made one by one.
  xen_feature_info_t features{.submap_idx = 0, .submap = 0};
  entries[0] = {.op = __HYPERVISOR_xen_version, .result = 1, .args = {XENVER_version, 0}};
  entries[1] = {.op = 47, .result = 1, .args = {}};
  entries[2] = {.op = __HYPERVISOR_xen_version, .result = 1, .args = {XENVER_get_features, as_argument(&features)}};
  entries[3] = {.op = __HYPERVISOR_event_channel_op, .result = 1, .args = {0x7fff, 0}};
  entries[4] = {.op = __HYPERVISOR_vcpu_op, .result = 1, .args = {VCPUOP_is_up, 0, 0}};
  EXPECT_EQ(hypercall<__HYPERVISOR_multicall>(entries, 5), 0);
  EXPECT_EQ(entries[0].result, xen_version(XENVER_version, nullptr));
  EXPECT_EQ(static_cast<long>(entries[1].result), -XEN_ENOSYS);
  EXPECT_EQ(static_cast<long>(entries[2].result), 0);
  EXPECT_EQ(features.submap, domain_self.features);
  EXPECT(static_cast<long>(entries[3].result) < 0);
  EXPECT_EQ(entries[4].result, 1);

  // In order: a port is bound, sent to and closed in one batch.
  Port port = 0;
  EXPECT_EQ(events::bind_ipi(port), 0);
  evtchn_send_t send{.port = port};
  evtchn_close_t close{.port = port};
  entries[0] = {.op = __HYPERVISOR_event_channel_op, .result = 1, .args = {EVTCHNOP_send, as_argument(&send)}};
  entries[1] = {.op = __HYPERVISOR_event_channel_op, .result = 1, .args = {EVTCHNOP_close, as_argument(&close)}};
  entries[2] = {.op = __HYPERVISOR_event_channel_op, .result = 1, .args = {EVTCHNOP_send, as_argument(&send)}};
  EXPECT_EQ(hypercall<__HYPERVISOR_multicall>(entries, 3), 0);
  EXPECT_EQ(static_cast<long>(entries[0].result), 0);
  EXPECT_EQ(static_cast<long>(entries[1].result), 0);
  EXPECT(static_cast<long>(entries[2].result) < 0);

  // Nothing to do is no error.
  EXPECT_EQ(hypercall<__HYPERVISOR_multicall>(entries, 0), 0);
  // A list that is not the guest's memory is.
  EXPECT_EQ(hypercall<__HYPERVISOR_multicall>(uint64_t{0xffff'8000'0000'0000}, 1), -XEN_EFAULT);

  // A batch may sleep: the deadline has passed when it comes back.
  Port ports[] = {timer_port()};
  sched_poll_t poll{};
  set_xen_guest_handle(poll.ports, ports);
  poll.nr_ports = 1;
  poll.timeout = now_ns() + 3'000'000;
  entries[0] = {.op = __HYPERVISOR_xen_version, .result = 1, .args = {XENVER_version, 0}};
  entries[1] = {.op = __HYPERVISOR_sched_op, .result = 1, .args = {SCHEDOP_poll, as_argument(&poll)}};
  EXPECT_EQ(hypercall<__HYPERVISOR_multicall>(entries, 2), 0);
  EXPECT_EQ(static_cast<long>(entries[1].result), 0);
  EXPECT(now_ns() >= poll.timeout);
}

}  // namespace xenopolis::guest
