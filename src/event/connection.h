// Making and breaking channels, as sequences of steps each of which leaves something valid behind: the domain lock, and
// the repair of a domain whose lock holder died between two steps.
#pragma once

#include "event/delivery.h"

namespace xenopolis::event {

// Holds the domain lock. When its last holder died, first completes or undoes what that one had begun. The domain's
// locks are initialised.
class DomainGuard {
 public:
  DomainGuard(machine::Machine& machine, DomId domid);

 private:
  machine::RobustGuard guard_;
};

// The domain exists, as far as one can say without the lock.
inline bool is_alive(DomId domid) {
  const DomainChannels& domain = channels_of(domid);
  return domain.locks_ready.load(std::memory_order_acquire) != 0 &&
         domain.life.load(std::memory_order_acquire) == Life::kAlive;
}
// The same for what a guest says: in range too.
inline bool is_valid_domain(uint32_t domid) {
  return domid < kDomIdCount && is_alive(static_cast<DomId>(domid));
}

// EVTCHNOP_bind_interdomain; the local port notifies `vcpu`, which exists.
XenResult<Port> connect(machine::Machine& machine, DomId self, VcpuId vcpu, DomId remote_domid, Port remote_port);

// --- with the domain lock held

// A port in a new state. `word` names state, remote and vCPU.
XenResult<Port> open_port(machine::Machine& machine, DomainChannels& domain, PortWord word);
// EVTCHNOP_close. kInval when the port is not open.
XenStatus close_port(machine::Machine& machine, DomId domid, Port port);
// After the domain's vCPUs have been declared dead: disconnects all remote ends and frees the ports. Does not touch the
// domain's memory.
void abandon_ports(machine::Machine& machine, DomId domid);

}  // namespace xenopolis::event
