// Event channels: the operations of EVTCHNOP_* on the machine's port tables (<xen/event_channel.h>).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "machine/machine.h"
#include "xen_abi/xen.h"

namespace xenopolis::event {

// Which event channel ABI a domain speaks. Every domain starts with 2-level. It changes to FIFO with
// EVTCHNOP_init_control, and to 3-level (xen_abi/event_channel_3level.h) with EVTCHNOP_register_extended.
enum class Abi : uint8_t { kTwoLevel, kThreeLevel, kFifo };
inline constexpr std::string_view kAbiNames[] = {"2l", "3l", "fifo"};  // what people and programs call them

inline constexpr std::string_view name_of(Abi abi) {
  return kAbiNames[static_cast<size_t>(abi)];
}
inline constexpr std::optional<Abi> abi_named(std::string_view name) {
  for (const Abi abi : {Abi::kTwoLevel, Abi::kThreeLevel, Abi::kFifo}) {
    if (name_of(abi) == name) return abi;
  }
  return std::nullopt;
}
// What guests may use beside a Dom0 that uses `dom0`: 3-level is for Dom0 alone.
inline constexpr Abi guest_abi(Abi dom0) {
  return dom0 == Abi::kThreeLevel ? Abi::kFifo : dom0;
}

// What a new domain gets.
struct DomainConfig {
  // The one that it may change to; operations of the other answer -ENOSYS, as a hypervisor without it does. kThreeLevel
  // is for Dom0 and driver domains, kTwoLevel for guests that shall see an old hypervisor.
  Abi offered_abi = Abi::kFifo;
  uint32_t max_port = 0;  // highest port number the toolstack allows (max_event_channels); 0: the ABI's own limit
  uint32_t vcpus = 1;
  // Address of the domain's shared_info page in the machine. Vcpu v's vcpu_info starts out in it (v < 32).
  void* shared_info = nullptr;
};

// One channel as EVTCHNOP_status shows it, with what an operator wants to see besides.
struct PortStatus {
  uint32_t status = EVTCHNSTAT_closed;
  uint32_t vcpu = 0;
  DomId remote_domid = 0;  // unbound, interdomain
  Port remote_port = 0;    // interdomain
  uint32_t virq = 0;       // virq
  uint8_t priority = 0;    // FIFO
  bool pending = false;
  bool masked = false;
};

// Counters of a domain, since it was created.
struct DomainCounters {
  uint64_t events_sent = 0;       // send() calls that reached a channel
  uint64_t events_delivered = 0;  // became pending (were not pending before)
  uint32_t open_ports = 0;
};

// All operations may be called from any thread of any process that has the machine. `self` is the calling domain, whom
// the hypercall layer has identified; `vcpu` and `port` arguments may be any value a guest invents. Errors are Xen's
// (xen/common/event_channel.c): kInval for a bad port, kNoSpc for no free port, and so on.
class EventChannels {
 public:
  explicit EventChannels(machine::Machine& machine) : machine_(machine) {}

  // --- life of a domain; toolstack and cell

  // Prepares `domid`, which must not exist. ENOMEM, EINVAL.
  Status create_domain(DomId domid, const DomainConfig& config);
  // Closes all ports; remote ends become unbound. From here on nothing touches the domain's memory. O(its open ports).
  void destroy_domain(DomId domid);
  bool domain_exists(DomId domid) const;
  // Events for the vCPU ring this bell. Before it, they wait in the domain's memory.
  void set_doorbell(DomId domid, VcpuId vcpu, machine::DoorbellId bell, unsigned bit);
  // The vCPU runs no more (its cell died): nobody is rung.
  void clear_doorbell(DomId domid, VcpuId vcpu);

  // --- EVTCHNOP_*

  // In `domid`'s port table, to be bound by `remote`. Only Dom0 may name another domain than itself.
  XenResult<Port> alloc_unbound(DomId self, DomId domid, DomId remote);
  XenResult<Port> bind_interdomain(DomId self, DomId remote_domid, Port remote_port);
  XenResult<Port> bind_virq(DomId self, uint32_t virq, VcpuId vcpu);
  XenResult<Port> bind_ipi(DomId self, VcpuId vcpu);
  XenStatus close(DomId self, Port port);
  XenStatus send(DomId self, Port port);
  XenResult<PortStatus> status(DomId self, DomId domid, Port port);
  XenStatus unmask(DomId self, Port port);
  XenStatus bind_vcpu(DomId self, Port port, VcpuId vcpu);
  XenStatus init_control(DomId self, VcpuId vcpu, Gfn control_gfn, uint32_t offset, uint8_t& link_bits);
  XenStatus expand_array(DomId self, Gfn array_gfn);
  XenStatus set_priority(DomId self, Port port, uint32_t priority);
  // EVTCHN_EXTENDED_*
  uint64_t extended_abis(DomId self) const;
  XenStatus register_bitmaps(DomId self, const Gfn (&pending)[EVTCHN_3L_BITMAP_FRAMES],
                             const Gfn (&mask)[EVTCHN_3L_BITMAP_FRAMES]);
  XenStatus register_selector(DomId self, VcpuId vcpu, Gfn gfn, uint32_t offset);
  // kAgain: more than 512 ports have been opened while it went on.
  XenStatus reset(DomId self, DomId domid);
  // The same in pieces: looks at `limit` ports at most, and goes on there when it is called again (EVTCHNOP_reset_cont,
  // XSA-344). True: done. kAgain: more than `limit` ports have been opened meanwhile.
  XenResult<bool> reset_some(DomId self, DomId domid, uint32_t limit);

  // --- from the hypervisor itself

  // Raises a per-vCPU virtual interrupt; nothing happens when the guest has not bound it.
  void raise_virq(DomId domid, VcpuId vcpu, uint32_t virq);
  // Raises a global virtual interrupt, which is Dom0's: VIRQ_DOM_EXC and the like.
  void raise_global_virq(uint32_t virq);
  // VCPUOP_register_vcpu_info: moves vCPU's vcpu_info to `info` (inside the domain's RAM), marks it pending as Xen
  // does.
  XenStatus register_vcpu_info(DomId domid, VcpuId vcpu, void* info);
  // Where the vCPU's vcpu_info is now.
  vcpu_info* info_of(DomId domid, VcpuId vcpu) const;
  // SCHEDOP_poll: true when one of `ports` is pending now (nothing registered then); otherwise registers the vCPU as a
  // poller, to be rung when one of them becomes pending, masked or not, until end_poll.
  XenResult<bool> begin_poll(DomId self, VcpuId vcpu, const Port* ports, uint32_t count);
  void end_poll(DomId self, VcpuId vcpu);

  // A process has died: what it may have begun for Dom0 is finished now, not with the next event. O(Dom0's vCPUs).
  void repair_dom0();

  // --- observation

  DomainCounters counters(DomId domid) const;
  Abi abi(DomId domid) const;
  // How many channels the domain could have, by its present ABI and limit.
  uint32_t port_limit(DomId domid) const;

  machine::Machine& machine() { return machine_; }

 private:
  machine::Machine& machine_;
};

}  // namespace xenopolis::event
