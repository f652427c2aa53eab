// From "this port shall be pending" to the receiver's doorbell; and the locks on the way.
#pragma once

#include <utility>

#include "event/event_abi.h"

namespace xenopolis::event {

// What must still be true of the receiving port's word when its vCPU's delivery lock is held.
struct Expectation {
  PortState state = PortState::kFree;  // kFree: any open port
  DomId remote_domid = 0;              // kInterdomain
  Port remote_port = 0;                // kInterdomain
  uint32_t virq = 0;                   // kVirq

  static Expectation open() { return {}; }
  static Expectation connected_to(DomId domid, Port port) { return {PortState::kInterdomain, domid, port, 0}; }
  bool holds(PortWord word) const;
};

enum class Purpose {
  kSend,
  kUnmask,  // clear the mask, then deliver if pending
  kResume,  // what a dead sender may have begun: tell the guest once too often rather than never
};

// Makes the port pending, if the expectation holds, and rings. False: it does not hold (any more).
// Takes one delivery lock, two while a FIFO port moves between vCPUs, and all of the domain's, once, if the port keeps
// moving. The caller holds none.
bool deliver(machine::Machine& machine, DomId domid, Port port, const Expectation& expectation, Purpose purpose);

// Rings the doorbells of `vcpus` (a mask), whose delivery locks are not held.
void ring(machine::Machine& machine, const DomainChannels& domain, uint32_t vcpus);

// Raises the vCPU's upcall, with its delivery lock held. True: it must be rung.
bool raise_upcall(VcpuChannels& vcpu);

// --- building blocks

// Takes the vCPU's delivery lock. True: the domain is alive and its memory can be touched from this process.
bool lock_delivery(machine::Machine& machine, DomId domid, VcpuId vcpu);
// What a dead holder has begun is finished here, after unlocking.
void unlock_delivery(machine::Machine& machine, DomId domid, VcpuId vcpu);

// Runs `body(VcpuChannels&)` with the vCPU's delivery lock held.
template <class Body>
void with_delivery_lock(machine::Machine& machine, DomId domid, VcpuId vcpu, Body&& body) {
  lock_delivery(machine, domid, vcpu);
  std::forward<Body>(body)(channels_of(domid).vcpus[vcpu]);
  unlock_delivery(machine, domid, vcpu);
}

// The vCPU whose lock to try first for `port`.
VcpuId guess_vcpu(const DomainChannels& domain, DomId domid, Port port);

// Runs `body(PortSlot&, PortWord)` with the delivery lock held of the vCPU that the port's word names: nobody else
// writes the word, and no delivery to the port is under way. False (and no call): there is no such domain or port.
template <class Body>
bool with_port_locked(machine::Machine& machine, DomId domid, Port port, Body&& body) {
  DomainChannels& domain = channels_of(domid);
  if (domain.locks_ready.load(std::memory_order_acquire) == 0) return false;
  VcpuId vcpu = guess_vcpu(domain, domid, port);
  // Bound: each further turn means that the port was bound to another vCPU meanwhile.
  for (;;) {
    PortSlot* slot = lock_delivery(machine, domid, vcpu) ? find_slot(domain, port) : nullptr;
    if (slot == nullptr) {
      unlock_delivery(machine, domid, vcpu);
      return false;
    }
    const PortWord word = slot->load();
    if (word.vcpu() == vcpu) {
      std::forward<Body>(body)(*slot, word);
      unlock_delivery(machine, domid, vcpu);
      return true;
    }
    unlock_delivery(machine, domid, std::exchange(vcpu, word.vcpu()));
  }
}

}  // namespace xenopolis::event
