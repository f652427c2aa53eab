#include "runtime/events.h"

#include "runtime/atomic.h"
#include "runtime/fifo.h"
#include "runtime/two_level.h"

namespace xenopolis::guest::events {
namespace {

EventAbi wanted_abi, used_abi;
bool uncovered;

long covered(long answer, Port port) {
  return answer == 0 && !uncovered ? cover(port) : answer;
}

}  // namespace

void prepare(Multicall& batch, EventAbi wanted) {
  wanted_abi = wanted;
  if (wanted == EventAbi::kFifo) fifo::prepare(batch);
}

void finish(const Multicall& batch) {
  used_abi = wanted_abi == EventAbi::kFifo && fifo::finish(batch) ? EventAbi::kFifo : EventAbi::kTwoLevel;
  if (used_abi == EventAbi::kTwoLevel) two_level::start();
}

EventAbi abi() {
  return used_abi;
}

long change_to_fifo(bool with_page) {
  fifo::prepare(common_batch, with_page);
  common_batch.run();
  if (!fifo::finish(common_batch)) return common_batch.result(0);
  used_abi = EventAbi::kFifo;
  return 0;
}

long reset() {
  evtchn_reset_t call{.dom = DOMID_SELF};
  long answer = event_channel_op(EVTCHNOP_reset, &call);
  if (answer != 0) return answer;
  if (used_abi == EventAbi::kFifo) fifo::forget();
  used_abi = EventAbi::kTwoLevel;
  two_level::start();
  return 0;
}

Port take() {
  return used_abi == EventAbi::kFifo ? fifo::take() : two_level::take();
}

void clear(Port port) {
  if (used_abi == EventAbi::kFifo) {
    fetch_and(fifo::word(port), ~(1u << EVTCHN_FIFO_PENDING));
  } else {
    two_level::clear(port);
  }
}

bool pending(Port port) {
  if (used_abi == EventAbi::kFifo) return (load(fifo::word(port)) & 1u << EVTCHN_FIFO_PENDING) != 0;
  return two_level::pending(port);
}

void mask(Port port) {
  if (used_abi == EventAbi::kFifo) {
    fifo::mask(port);
  } else {
    two_level::mask(port);
  }
}

void unmask(Port port) {
  if (used_abi == EventAbi::kFifo ? fifo::unmask(port) : two_level::unmask(port)) {
    evtchn_unmask_t call{.port = port};
    event_channel_op(EVTCHNOP_unmask, &call);
  }
}

void poll(const Port* ports, unsigned count, uint64_t deadline_ns) {
  sched_poll_t call{};
  set_xen_guest_handle(call.ports, const_cast<Port*>(ports));
  call.nr_ports = count;
  call.timeout = deadline_ns;
  sched_op(SCHEDOP_poll, &call);
}

void run_and_poll(Multicall& batch, const Port* ports, unsigned count, uint64_t deadline_ns) {
  sched_poll_t call{};
  set_xen_guest_handle(call.ports, const_cast<Port*>(ports));
  call.nr_ports = count;
  call.timeout = deadline_ns;
  unsigned index = batch.add(__HYPERVISOR_sched_op, SCHEDOP_poll, &call);
  batch.run();
  // A hypervisor that does not let a batch sleep.
  if (batch.result(index) != 0) sched_op(SCHEDOP_poll, &call);
}

long alloc_unbound(domid_t remote, Port& port) {
  evtchn_alloc_unbound_t call{.dom = DOMID_SELF, .remote_dom = remote, .port = 0};
  long answer = event_channel_op(EVTCHNOP_alloc_unbound, &call);
  port = call.port;
  return covered(answer, port);
}

long bind_interdomain(domid_t remote, Port remote_port, Port& port) {
  evtchn_bind_interdomain_t call{.remote_dom = remote, .remote_port = remote_port, .local_port = 0};
  long answer = event_channel_op(EVTCHNOP_bind_interdomain, &call);
  port = call.local_port;
  return covered(answer, port);
}

long bind_virq(unsigned virq, Port& port) {
  evtchn_bind_virq_t call{.virq = virq, .vcpu = 0, .port = 0};
  long answer = event_channel_op(EVTCHNOP_bind_virq, &call);
  port = call.port;
  return covered(answer, port);
}

long bind_ipi(Port& port) {
  evtchn_bind_ipi_t call{.vcpu = 0, .port = 0};
  long answer = event_channel_op(EVTCHNOP_bind_ipi, &call);
  port = call.port;
  return covered(answer, port);
}

long close(Port port) {
  evtchn_close_t call{.port = port};
  return event_channel_op(EVTCHNOP_close, &call);
}

long send(Port port) {
  evtchn_send_t call{.port = port};
  return event_channel_op(EVTCHNOP_send, &call);
}

long set_priority(Port port, unsigned priority) {
  evtchn_set_priority_t call{.port = port, .priority = priority};
  return event_channel_op(EVTCHNOP_set_priority, &call);
}

void leave_uncovered() {
  uncovered = true;
}

long cover(Port port) {
  return used_abi == EventAbi::kFifo ? fifo::cover(port) : 0;
}

}  // namespace xenopolis::guest::events
