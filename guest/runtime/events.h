// Event channels: binding, sending, masking, and taking the next pending one, over the 2-level and the FIFO ABI.
#pragma once

#include "runtime/domain.h"

namespace xenopolis::guest {

enum class EventAbi : uint8_t { kTwoLevel, kFifo };

namespace events {

// Asks for the wanted ABI; finish() falls back to 2-level if the hypervisor refuses FIFO.
void prepare(Multicall& batch, EventAbi wanted);
void finish(const Multicall& batch);
EventAbi abi();

// Changes from 2-level to FIFO; `with_page`: with the first page of the event array. -errno.
long change_to_fifo(bool with_page = true);
// EVTCHNOP_reset: closes all ports, those of console and xenstore too, and goes back to 2-level. -errno.
long reset();

// The next pending, unmasked port, in the ABI's order, with its pending bit cleared; 0 if there is none.
Port take();

// Forget that the port is pending, without looking at the others.
void clear(Port port);
bool pending(Port port);
void mask(Port port);
// With the hypercall only if an event waited behind the mask.
void unmask(Port port);

// Sleeps until one of the ports is pending (SCHEDOP_poll; upcalls stay masked) or until the system time reaches
// deadline_ns, if that is not 0. At most 128 ports.
void poll(const Port* ports, unsigned count, uint64_t deadline_ns = 0);

// The same as the last call of a batch, so that telling others and going to sleep cost one entry into the hypervisor.
void run_and_poll(Multicall& batch, const Port* ports, unsigned count, uint64_t deadline_ns = 0);

// Each answers -errno, or 0 and the port in `port`.
long alloc_unbound(domid_t remote, Port& port);
long bind_interdomain(domid_t remote, Port remote_port, Port& port);
long bind_virq(unsigned virq, Port& port);
long bind_ipi(Port& port);
long close(Port port);
long send(Port port);
long set_priority(Port port, unsigned priority);

// Ports are bound without it from now on: the event array does not grow until cover() is called.
void leave_uncovered();

// To be told of every port that was bound by a batch: FIFO's event array must have a word for it.
long cover(Port port);

}  // namespace events
}  // namespace xenopolis::guest
