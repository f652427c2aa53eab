// The one interface behind which the event channel ABIs differ: how an event looks in the guest's memory.
#pragma once

#include "event/port_table.h"

namespace xenopolis::event {

// One event on its way, with the receiving vCPU's delivery lock held and, when the ABI needs it (see other_vcpu), that
// of the other vCPU too.
struct Delivery {
  DomainChannels& domain;
  VcpuId vcpu;
  Port port;
  PortSlot& slot;
};

struct Raised {
  bool newly_pending = false;  // was not pending before
  bool upcall = false;         // the guest must be told
};

// Stateless; one constant instance per ABI and process (vtables differ between processes, so the machine holds the Abi
// only).
// Guest memory is read once per decision, through atomics; whatever a guest writes there harms that guest alone.
//
// All calls: the domain's memory may be touched (docs/invariants.md).
class EventAbi {
 public:
  // Port numbers, 0 included.
  virtual uint32_t port_limit() const = 0;

  // The vCPU whose delivery lock set_pending() needs besides that of `word.vcpu()`; or the same again.
  virtual VcpuId other_vcpu(PortWord word) const = 0;
  virtual Raised set_pending(const Delivery& delivery) const = 0;
  // Makes whole what a dead holder of `vcpu`'s delivery lock left of a linking delivery, such that set_pending() can be
  // done once more.
  virtual void finish_linking(DomainChannels& domain, VcpuId vcpu, const JournalEntry& entry) const = 0;
  virtual void clear_pending(DomainChannels& domain, Port port) const = 0;
  virtual void clear_mask(DomainChannels& domain, Port port) const = 0;

  virtual bool is_pending(const DomainChannels& domain, Port port) const = 0;
  virtual bool is_masked(const DomainChannels& domain, Port port) const = 0;
  // The guest's queues still hold this closed port: it must not be used again yet.
  virtual bool is_busy(const DomainChannels& domain, Port port) const = 0;

 protected:
  ~EventAbi() = default;
};

const EventAbi& abi_of(Abi abi);

}  // namespace xenopolis::event
