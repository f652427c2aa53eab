#include "event/connection.h"

#include "base/fault_point.h"
#include "event/setup.h"

namespace xenopolis::event {
namespace {

// The remote end of (domid, port) becomes unbound, if it is still that: it may have been closed, or even bound anew.
void disconnect(machine::Machine& machine, DomId remote_domid, Port remote_port, DomId domid, Port port) {
  if (!is_valid_domain(remote_domid)) return;
  with_port_locked(machine, remote_domid, remote_port, [&](PortSlot& slot, PortWord word) {
    const bool connected =
        word.is_connected_to(domid, port) ||
        (word.state() == PortState::kBinding && word.remote_domid() == domid && word.remote_port() == port);
    if (connected) slot.store(word.with_state(PortState::kUnbound).with_remote(domid, 0));
  });
}

void unbind_virqs(DomainChannels& domain, Port port) {
  for (VcpuChannels& vcpu : domain.vcpus) {
    for (auto& bound : vcpu.virq_ports) {
      if (bound.load(std::memory_order_relaxed) == port) bound.store(0, std::memory_order_release);
    }
  }
}

// The second half of closing: the port is kClosing.
void finish_closing(machine::Machine& machine, DomId domid, Port port) {
  DomainChannels& domain = channels_of(domid);
  const PortWord word = find_slot(domain, port)->load();
  if (word.remote_port() != 0) disconnect(machine, word.remote_domid(), word.remote_port(), domid, port);
  fault_point("close: disconnected");
  // No delivery is under way while this holds the delivery lock, and none will begin.
  with_port_locked(machine, domid, port, [&](PortSlot& slot, PortWord now) {
    abi_of(domain.abi.load(std::memory_order_relaxed)).clear_pending(domain, port);
    slot.store(now.freed(0));
  });
  fault_point("close: freed");
}

void undo_binding(machine::Machine& machine, DomId domid, Port port, PortWord word) {
  disconnect(machine, word.remote_domid(), word.remote_port(), domid, port);
  with_port_locked(machine, domid, port, [&](PortSlot& slot, PortWord now) { slot.store(now.freed(0)); });
}

// With the domain lock, whose holder died: every port is completed, undone, or was whole.
void repair_domain(machine::Machine& machine, DomId domid) {
  DomainChannels& domain = channels_of(domid);
  const Life life = domain.life.load();
  if (life == Life::kDying) finish_destroying(machine, domid);
  if (life != Life::kAlive) return;
  finish_switching(machine, domid);
  const uint32_t used = domain.used_ports.load(std::memory_order_relaxed);
  for (Port port = 1; port < used; ++port) {
    const PortWord word = find_slot(domain, port)->load();
    if (word.state() == PortState::kBinding) undo_binding(machine, domid, port, word);
    if (word.state() == PortState::kClosing) finish_closing(machine, domid, port);
    // Bound, but the caller has not been told which port it is.
    if (word.state() == PortState::kVirq && domain.vcpus[word.vcpu()].virq_ports[word.virq()].load() != port) {
      bool bound_elsewhere = false;  // a global one may have moved
      for (VcpuChannels& vcpu : domain.vcpus) bound_elsewhere |= vcpu.virq_ports[word.virq()].load() == port;
      const auto free = [](PortSlot& held, PortWord now) { held.store(now.freed(0)); };
      if (!bound_elsewhere) with_port_locked(machine, domid, port, free);
    }
  }
  for (VcpuChannels& vcpu : domain.vcpus) {
    for (auto& bound : vcpu.virq_ports) {
      const PortSlot* slot = find_slot(domain, bound.load());
      if (slot == nullptr || slot->load().state() != PortState::kVirq) bound.store(0);
    }
  }
  rebuild_free_ports(domain);
}

}  // namespace

DomainGuard::DomainGuard(machine::Machine& machine, DomId domid)
    : guard_(channels_of(domid).lock, [&] { repair_domain(machine, domid); }) {}

XenResult<Port> open_port(machine::Machine& machine, DomainChannels& domain, PortWord word) {
  const Port port = TRY(allocate_port(domain, machine.frames()));
  PortSlot& slot = *find_slot(domain, port);
  const PortWord old = slot.load();
  slot.store(word.with_priority(EVTCHN_FIFO_PRIORITY_DEFAULT).with_last_queue(old.last_vcpu(), old.last_priority()));
  domain.open_ports.fetch_add(1, std::memory_order_relaxed);
  fault_point("open: open");
  return port;
}

XenResult<Port> connect(machine::Machine& machine, DomId self, VcpuId vcpu, DomId remote_domid, Port remote_port) {
  if (!is_valid_domain(remote_domid)) return xen_fail(XenErrno::kSrch);
  // Nobody has such a port; but as in Xen, that the caller has no port left is answered first.
  if (remote_port >= kMaxPorts) remote_port = 0;
  DomainChannels& domain = channels_of(self);
  Port port = 0;
  {
    DomainGuard guard(machine, self);
    if (domain.life.load() != Life::kAlive) return xen_fail(XenErrno::kSrch);
    const auto binding =
        PortWord{}.with_state(PortState::kBinding).with_vcpu(vcpu).with_remote(remote_domid, remote_port);
    port = TRY(open_port(machine, domain, binding));
    fault_point("bind: local end");
    bool connected = false;
    with_port_locked(machine, remote_domid, remote_port, [&](PortSlot& slot, PortWord word) {
      connected = word.state() == PortState::kUnbound && word.remote_domid() == self;
      if (connected) slot.store(word.with_state(PortState::kInterdomain).with_remote(self, port));
    });
    fault_point("bind: remote end");
    // From here on the remote end may be closed again: then the local end is unbound already.
    with_port_locked(machine, self, port, [&](PortSlot& slot, PortWord word) {
      if (!connected) {
        slot.store(word.freed(0));
      } else if (word.state() == PortState::kBinding) {
        slot.store(word.with_state(PortState::kInterdomain));
      }
    });
    if (!connected) {
      domain.open_ports.fetch_sub(1, std::memory_order_relaxed);
      release_port(domain, port);
      return xen_fail(XenErrno::kInval);
    }
    fault_point("bind: connected");
  }
  // Notifications from before the binding have been dropped (Xen does the same).
  deliver(machine, self, port, Expectation::open(), Purpose::kSend);
  return port;
}

XenStatus close_port(machine::Machine& machine, DomId domid, Port port) {
  DomainChannels& domain = channels_of(domid);
  bool open = false;
  with_port_locked(machine, domid, port, [&](PortSlot& slot, PortWord word) {
    open = word.is_open();
    if (!open) return;
    // The other kinds keep something else in the remote's place.
    const bool connected = word.state() == PortState::kInterdomain;
    slot.store(
        word.with_state(PortState::kClosing).with_remote(word.remote_domid(), connected ? word.remote_port() : 0));
  });
  if (!open) return xen_fail(XenErrno::kInval);
  fault_point("close: closing");
  unbind_virqs(domain, port);
  finish_closing(machine, domid, port);
  domain.open_ports.fetch_sub(1, std::memory_order_relaxed);
  release_port(domain, port);
  return {};
}

void abandon_ports(machine::Machine& machine, DomId domid) {
  DomainChannels& domain = channels_of(domid);
  const uint32_t used = domain.used_ports.load(std::memory_order_relaxed);
  for (Port port = 1; port < used; ++port) {
    const PortWord word = find_slot(domain, port)->load();
    const bool connected = word.state() == PortState::kInterdomain || word.state() == PortState::kBinding ||
                           word.state() == PortState::kClosing;
    if (connected && word.remote_port() != 0 && word.remote_domid() != domid) {
      disconnect(machine, word.remote_domid(), word.remote_port(), domid, port);
    }
    fault_point("destroy: port");
  }
  release_buckets(domain, machine.frames());
  domain.open_ports.store(0, std::memory_order_relaxed);
}

}  // namespace xenopolis::event
