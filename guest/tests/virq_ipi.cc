// Virtual and inter-processor interrupts: bound once, raised, closed and bound again; what they cannot do; and that a
// guest gets nothing of Dom0's.
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "virq_ipi";

namespace {

constexpr uint64_t kMs = 1'000'000;

evtchn_status_t status_of(Port port) {
  evtchn_status_t status{.dom = DOMID_SELF, .port = port, .status = 99, .vcpu = 99, .u = {}};
  EXPECT_EQ(event_channel_op(EVTCHNOP_status, &status), 0);
  return status;
}

long bind_vcpu(Port port, unsigned vcpu) {
  evtchn_bind_vcpu_t call{.port = port, .vcpu = vcpu};
  return event_channel_op(EVTCHNOP_bind_vcpu, &call);
}

void expect_timer() {
  Port port;
  for (unsigned round = 0; round < 3; ++round) {
    EXPECT_EQ(events::bind_virq(VIRQ_TIMER, port), 0);
    Port second;
    EXPECT_EQ(events::bind_virq(VIRQ_TIMER, second), -XEN_EEXIST);
    evtchn_status_t status = status_of(port);
    EXPECT_EQ(status.status, EVTCHNSTAT_virq);
    EXPECT_EQ(status.u.virq, VIRQ_TIMER);
    EXPECT_EQ(status.vcpu, 0);
    // Only the hypervisor raises it, on its vCPU.
    EXPECT_EQ(events::send(port), -XEN_EINVAL);
    EXPECT_EQ(bind_vcpu(port, 0), -XEN_EINVAL);
    EXPECT(!events::pending(port));
    EXPECT_EQ(timer::set(now_ns() + kMs), 0);
    while (!events::pending(port)) events::poll(&port, 1);
    EXPECT_EQ(events::take(), port);
    EXPECT_EQ(events::take(), 0);
    EXPECT_EQ(events::close(port), 0);
    EXPECT_EQ(status_of(port).status, EVTCHNSTAT_closed);
  }
  // Raised for nobody: the next to bind it is not told.
  EXPECT_EQ(timer::set(now_ns() - kMs), 0);
  EXPECT_EQ(events::bind_virq(VIRQ_TIMER, port), 0);
  sched_op(SCHEDOP_yield, nullptr);
  EXPECT_EQ(events::close(port), 0);
}

void expect_other_virqs() {
  Port debug, argo, port;
  EXPECT_EQ(events::bind_virq(VIRQ_DEBUG, debug), 0);
  EXPECT_EQ(events::bind_virq(VIRQ_ARGO, argo), 0);
  EXPECT_EQ(status_of(argo).u.virq, VIRQ_ARGO);
  // A global one may move, though there is only one place.
  EXPECT_EQ(bind_vcpu(argo, 0), 0);
  EXPECT_EQ(bind_vcpu(argo, 1), -XEN_ENOENT);
  // Dom0's. Before 4.21 Xen lets a guest bind them and never raises them.
  for (unsigned virq : {VIRQ_CONSOLE, VIRQ_DOM_EXC, VIRQ_TBUF, VIRQ_CON_RING, VIRQ_ENOMEM, VIRQ_ARCH_0}) {
    EXPECT_EQ(events::bind_virq(virq, port), -XEN_EBUSY);
    evtchn_bind_virq_t call{.virq = virq, .vcpu = 1, .port = 0};
    EXPECT_EQ(event_channel_op(EVTCHNOP_bind_virq, &call), -XEN_EINVAL);
  }
  EXPECT_EQ(events::bind_virq(NR_VIRQS, port), -XEN_EINVAL);
  EXPECT_EQ(events::close(debug), 0);
  EXPECT_EQ(events::close(argo), 0);
}

void expect_ipis() {
  constexpr unsigned kIpis = 5;
  Port ipis[kIpis];
  for (Port& ipi : ipis) {
    EXPECT_EQ(events::bind_ipi(ipi), 0);
    EXPECT_EQ(status_of(ipi).status, EVTCHNSTAT_ipi);
    EXPECT_EQ(bind_vcpu(ipi, 0), -XEN_EINVAL);
  }
  for (unsigned round = 0; round < 100; ++round) {
    for (Port ipi : ipis) EXPECT_EQ(events::send(ipi), 0);
    for (Port ipi : ipis) EXPECT_EQ(events::take(), ipi);  // by port and by time the same
    EXPECT_EQ(events::take(), 0);
  }
  for (Port ipi : ipis) EXPECT_EQ(events::close(ipi), 0);
  EXPECT_EQ(events::send(ipis[0]), -XEN_EINVAL);
}

}  // namespace

void test() {
  mask_backends();
  expect_timer();
  expect_other_virqs();
  expect_ipis();
}

}  // namespace xenopolis::guest
