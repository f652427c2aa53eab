// EventChannels: EVTCHNOP_* and SCHEDOP_poll. Errors as in Xen's common/event_channel.c and event_fifo.c.
#include <algorithm>

#include "event/connection.h"
#include "event/setup.h"
#include "machine/domain_memory.h"

namespace xenopolis::event {
namespace {

// SCHEDOP_poll's limit in Xen.
constexpr uint32_t kMaxPolledPorts = 128;

DomId resolve(DomId self, DomId named) {
  return named == DOMID_SELF ? self : named;
}

// The "V." and "G." of <xen/xen.h>.
bool is_global(uint32_t virq) {
  return virq != VIRQ_TIMER && virq != VIRQ_DEBUG && virq != VIRQ_XENOPROF && virq != VIRQ_XENPMU;
}

// Argo's is raised in each domain, the other global ones in Dom0 only.
bool may_bind(DomId self, uint32_t virq) {
  return !is_global(virq) || virq == VIRQ_ARGO || self == kDom0;
}

// Whether Xen knows a port of this number, be it closed: those that were ever used, rounded up to the 64 that Xen makes
// at a time (EVTCHNS_PER_BUCKET, xen/include/xen/sched.h), with the reserved port 0.
bool is_valid_port(const DomainChannels& domain, Port port) {
  constexpr uint32_t kMadeAtOnce = 64;
  const uint32_t used = std::max(1u, domain.used_ports.load(std::memory_order_acquire));
  return port < (used + kMadeAtOnce - 1) / kMadeAtOnce * kMadeAtOnce;
}

bool has_vcpu(DomId domid, VcpuId vcpu) {
  return vcpu < channels_of(domid).vcpu_count;
}

void count_sent(DomainChannels& domain) {
  if (domain.vcpu_count == 1) {  // then one thread sends for this domain
    domain.events_sent.store(domain.events_sent.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  } else {
    domain.events_sent.fetch_add(1, std::memory_order_relaxed);
  }
}

// The sender's channel leads to Dom0 and its event is still pending there: so nothing is to be done, and no lock taken,
// however often it sends. True: that is so, and the event is counted. Dom0's memory may be looked at without a lock,
// because Dom0 is never destroyed.
//
// 1. The guest writes its data. 2. The event is counted, which orders 1 before 3. 3. This finds PENDING.
// The consumer clears PENDING, then looks at the data: it did not yet clear it in 3, so it finds the data. Whoever has
// set PENDING has told the consumer, or is about to, or died: then the journal says so until its work is done by
// whoever takes the lock.
bool is_pending_at_dom0(DomainChannels& sender, PortWord from) {
  if (from.remote_domid() != kDom0) return false;
  const DomainChannels& dom0 = channels_of(kDom0);
  const PortSlot* slot = find_slot(dom0, from.remote_port());
  if (slot == nullptr) return false;
  const EventAbi& abi = abi_of(dom0.abi.load(std::memory_order_relaxed));
  if (!abi.is_pending(dom0, from.remote_port())) return false;
  sender.events_sent.fetch_add(1);
  if (abi.is_pending(dom0, from.remote_port()) && dom0.vcpus[slot->load().vcpu()].journal.load() == 0) return true;
  sender.events_sent.fetch_sub(1);
  return false;
}

}  // namespace

XenResult<Port> EventChannels::alloc_unbound(DomId self, DomId domid, DomId remote) {
  domid = resolve(self, domid);
  if (!is_valid_domain(domid)) return xen_fail(XenErrno::kSrch);
  if (self != domid && self != kDom0) return xen_fail(XenErrno::kPerm);
  DomainGuard guard(machine_, domid);
  DomainChannels& domain = channels_of(domid);
  if (domain.life.load() != Life::kAlive) return xen_fail(XenErrno::kSrch);
  return open_port(machine_, domain, PortWord{}.with_state(PortState::kUnbound).with_remote(resolve(self, remote), 0));
}

XenResult<Port> EventChannels::bind_interdomain(DomId self, DomId remote_domid, Port remote_port) {
  if (!is_valid_domain(self)) return xen_fail(XenErrno::kSrch);
  return connect(machine_, self, 0, resolve(self, remote_domid), remote_port);
}

XenResult<Port> EventChannels::bind_virq(DomId self, uint32_t virq, VcpuId vcpu) {
  if (!is_valid_domain(self)) return xen_fail(XenErrno::kSrch);
  if (virq >= NR_VIRQS) return xen_fail(XenErrno::kInval);
  if (is_global(virq) && vcpu != 0) return xen_fail(XenErrno::kInval);
  if (!has_vcpu(self, vcpu)) return xen_fail(XenErrno::kNoEnt);
  // As since Xen 4.21; before, the port could be bound and was never raised.
  if (!may_bind(self, virq)) return xen_fail(XenErrno::kBusy);
  DomainGuard guard(machine_, self);
  DomainChannels& domain = channels_of(self);
  if (domain.life.load() != Life::kAlive) return xen_fail(XenErrno::kSrch);
  std::atomic<Port>& bound = domain.vcpus[vcpu].virq_ports[virq];
  if (bound.load() != 0) return xen_fail(XenErrno::kExist);
  const Port port =
      TRY(open_port(machine_, domain, PortWord{}.with_state(PortState::kVirq).with_vcpu(vcpu).with_virq(virq)));
  bound.store(port, std::memory_order_release);
  return port;
}

XenResult<Port> EventChannels::bind_ipi(DomId self, VcpuId vcpu) {
  if (!is_valid_domain(self)) return xen_fail(XenErrno::kSrch);
  if (!has_vcpu(self, vcpu)) return xen_fail(XenErrno::kNoEnt);
  DomainGuard guard(machine_, self);
  DomainChannels& domain = channels_of(self);
  if (domain.life.load() != Life::kAlive) return xen_fail(XenErrno::kSrch);
  return open_port(machine_, domain, PortWord{}.with_state(PortState::kIpi).with_vcpu(vcpu));
}

XenStatus EventChannels::close(DomId self, Port port) {
  if (!is_valid_domain(self)) return xen_fail(XenErrno::kSrch);
  DomainGuard guard(machine_, self);
  return close_port(machine_, self, port);
}

XenStatus EventChannels::send(DomId self, Port port) {
  if (!is_valid_domain(self)) return xen_fail(XenErrno::kSrch);
  DomainChannels& domain = channels_of(self);
  const PortSlot* slot = find_slot(domain, port);
  const PortWord word = slot == nullptr ? PortWord{} : slot->load();
  switch (word.state()) {
    case PortState::kInterdomain:
      if (is_pending_at_dom0(domain, word)) return {};
      count_sent(domain);
      // When the remote end has gone meanwhile, so has the event: as if it had been sent a moment later.
      deliver(machine_, word.remote_domid(), word.remote_port(), Expectation::connected_to(self, port), Purpose::kSend);
      return {};
    case PortState::kIpi:
      count_sent(domain);
      deliver(machine_, self, port, {.state = PortState::kIpi}, Purpose::kSend);
      return {};
    case PortState::kUnbound:
      return {};  // nobody listens yet
    default:
      return xen_fail(XenErrno::kInval);
  }
}

XenResult<PortStatus> EventChannels::status(DomId self, DomId domid, Port port) {
  domid = resolve(self, domid);
  if (!is_valid_domain(domid)) return xen_fail(XenErrno::kSrch);
  DomainChannels& domain = channels_of(domid);
  if (!is_valid_port(domain, port)) return xen_fail(XenErrno::kInval);
  if (self != domid && self != kDom0) return xen_fail(XenErrno::kPerm);
  PortStatus status;  // what a port has that was never used: closed
  with_port_locked(machine_, domid, port, [&](PortSlot&, PortWord word) {
    const EventAbi& abi = abi_of(domain.abi.load(std::memory_order_relaxed));
    status.pending = abi.is_pending(domain, port);
    status.masked = abi.is_masked(domain, port);
    status.vcpu = word.vcpu();
    status.priority = word.priority();
    switch (word.state()) {
      case PortState::kUnbound:
        status.status = EVTCHNSTAT_unbound;
        status.remote_domid = word.remote_domid();
        break;
      case PortState::kInterdomain:
        status.status = EVTCHNSTAT_interdomain;
        status.remote_domid = word.remote_domid();
        status.remote_port = word.remote_port();
        break;
      case PortState::kVirq:
        status.status = EVTCHNSTAT_virq;
        status.virq = word.virq();
        break;
      case PortState::kIpi:
        status.status = EVTCHNSTAT_ipi;
        break;
      default:
        status.status = EVTCHNSTAT_closed;
    }
  });
  return status;
}

XenStatus EventChannels::unmask(DomId self, Port port) {
  if (!is_valid_domain(self)) return xen_fail(XenErrno::kSrch);
  if (!is_valid_port(channels_of(self), port)) return xen_fail(XenErrno::kInval);
  // Nothing happens to a closed port, and that is no error.
  deliver(machine_, self, port, Expectation::open(), Purpose::kUnmask);
  return {};
}

XenStatus EventChannels::bind_vcpu(DomId self, Port port, VcpuId vcpu) {
  if (!is_valid_domain(self)) return xen_fail(XenErrno::kSrch);
  if (!has_vcpu(self, vcpu)) return xen_fail(XenErrno::kNoEnt);
  XenStatus status = xen_fail(XenErrno::kInval);
  with_port_locked(machine_, self, port, [&](PortSlot& slot, PortWord word) {
    const bool movable = word.state() == PortState::kUnbound || word.state() == PortState::kInterdomain ||
                         (word.state() == PortState::kVirq && is_global(word.virq()));
    if (!movable) return;
    status = {};
    slot.store(word.with_vcpu(vcpu));
  });
  return status;
}

XenStatus EventChannels::set_priority(DomId self, Port port, uint32_t priority) {
  if (!is_valid_domain(self)) return xen_fail(XenErrno::kSrch);
  if (!is_valid_port(channels_of(self), port)) return xen_fail(XenErrno::kInval);
  if (channels_of(self).abi.load() != Abi::kFifo) return xen_fail(XenErrno::kNoSys);
  XenStatus status = xen_fail(XenErrno::kAcces);
  with_port_locked(machine_, self, port, [&](PortSlot& slot, PortWord word) {
    if (!word.is_open()) return;
    status = {};
    if (priority <= EVTCHN_FIFO_PRIORITY_MIN) {
      slot.store(word.with_priority(priority));
    } else {
      status = xen_fail(XenErrno::kInval);
    }
  });
  return status;
}

XenStatus EventChannels::init_control(DomId self, VcpuId vcpu, Gfn control_gfn, uint32_t offset, uint8_t& link_bits) {
  if (!is_valid_domain(self)) return xen_fail(XenErrno::kSrch);
  if (channels_of(self).offered_abi != Abi::kFifo) return xen_fail(XenErrno::kNoSys);
  link_bits = EVTCHN_FIFO_LINK_BITS;
  if (!has_vcpu(self, vcpu)) return xen_fail(XenErrno::kNoEnt);
  if (offset > kPageSize - sizeof(evtchn_fifo_control_block) || offset % 8 != 0) return xen_fail(XenErrno::kInval);
  uint8_t* page = machine::memory_of(self).ram_page(control_gfn);
  if (page == nullptr) return xen_fail(XenErrno::kInval);
  return install_control_block(machine_, self, vcpu, reinterpret_cast<evtchn_fifo_control_block*>(page + offset));
}

XenStatus EventChannels::expand_array(DomId self, Gfn array_gfn) {
  if (!is_valid_domain(self)) return xen_fail(XenErrno::kSrch);
  if (channels_of(self).offered_abi != Abi::kFifo) return xen_fail(XenErrno::kNoSys);
  if (channels_of(self).abi.load() != Abi::kFifo) return xen_fail(XenErrno::kOpNotSupp);
  if (channels_of(self).array_pages.load() >= kMaxArrayPages) return xen_fail(XenErrno::kNoSpc);
  uint8_t* page = machine::memory_of(self).ram_page(array_gfn);
  if (page == nullptr) return xen_fail(XenErrno::kInval);
  return add_array_page(machine_, self, page);
}

uint64_t EventChannels::extended_abis(DomId self) const {
  const bool allowed = is_valid_domain(self) && channels_of(self).offered_abi == Abi::kThreeLevel;
  return allowed ? EVTCHN_EXTENDED_3LEVEL : EVTCHN_EXTENDED_NONE;
}

XenStatus EventChannels::register_bitmaps(DomId self, const Gfn (&pending)[EVTCHN_3L_BITMAP_FRAMES],
                                          const Gfn (&mask)[EVTCHN_3L_BITMAP_FRAMES]) {
  if (!is_valid_domain(self)) return xen_fail(XenErrno::kSrch);
  if (extended_abis(self) != EVTCHN_EXTENDED_3LEVEL) return xen_fail(XenErrno::kNoSys);
  BitmapFrames frames{};
  for (size_t index = 0; index < frames.size(); ++index) {
    const bool is_mask = index >= EVTCHN_3L_BITMAP_FRAMES;
    void* frame = machine::memory_of(self).ram_page(is_mask ? mask[index - EVTCHN_3L_BITMAP_FRAMES] : pending[index]);
    const auto named = frames.begin() + static_cast<ptrdiff_t>(index);
    if (frame == nullptr || std::find(frames.begin(), named, frame) != named) return xen_fail(XenErrno::kInval);
    frames[index] = frame;
  }
  return install_bitmaps(machine_, self, frames);
}

XenStatus EventChannels::register_selector(DomId self, VcpuId vcpu, Gfn gfn, uint32_t offset) {
  constexpr uint32_t kSize = EVTCHN_3L_SELECTOR_WORDS * sizeof(xen_ulong_t);
  if (!is_valid_domain(self)) return xen_fail(XenErrno::kSrch);
  if (extended_abis(self) != EVTCHN_EXTENDED_3LEVEL) return xen_fail(XenErrno::kNoSys);
  if (!has_vcpu(self, vcpu)) return xen_fail(XenErrno::kNoEnt);
  if (offset > kPageSize - kSize || offset % sizeof(xen_ulong_t) != 0) return xen_fail(XenErrno::kInval);
  uint8_t* page = machine::memory_of(self).ram_page(gfn);
  if (page == nullptr) return xen_fail(XenErrno::kInval);
  return install_selector(machine_, self, vcpu, reinterpret_cast<xen_ulong_t*>(page + offset));
}

void EventChannels::repair_dom0() {
  for (VcpuId vcpu = 0; vcpu < channels_of(kDom0).vcpu_count; ++vcpu) {
    with_delivery_lock(machine_, kDom0, vcpu, [](VcpuChannels&) {});
  }
}

void EventChannels::raise_virq(DomId domid, VcpuId vcpu, uint32_t virq) {
  if (!is_valid_domain(domid) || vcpu >= kMaxVcpus || virq >= NR_VIRQS) return;
  const Port port = channels_of(domid).vcpus[vcpu].virq_ports[virq].load(std::memory_order_acquire);
  if (port != 0) deliver(machine_, domid, port, {.state = PortState::kVirq, .virq = virq}, Purpose::kSend);
}

void EventChannels::raise_global_virq(uint32_t virq) {
  raise_virq(kDom0, 0, virq);  // where bind_virq() puts it, whichever vCPU its port notifies by now
}

XenResult<bool> EventChannels::begin_poll(DomId self, VcpuId vcpu, const Port* ports, uint32_t count) {
  if (!is_valid_domain(self)) return xen_fail(XenErrno::kSrch);
  if (!has_vcpu(self, vcpu)) return xen_fail(XenErrno::kNoEnt);
  if (count > kMaxPolledPorts) return xen_fail(XenErrno::kInval);
  DomainChannels& domain = channels_of(self);
  bool valid = true, pending = false;
  with_delivery_lock(machine_, self, vcpu, [&](VcpuChannels& channels) {
    if (channels.alive.load() == 0) return;
    // Register, then look: a sender makes the port pending, then looks for pollers. Both sequentially consistent, so
    // one of the two sees the other.
    channels.polled_port.store(count == 1 ? ports[0] : kAnyPort, std::memory_order_relaxed);
    domain.poll_mask.fetch_or(1u << vcpu);
    const EventAbi& abi = abi_of(domain.abi.load(std::memory_order_relaxed));
    // The first port that is pending or not open decides.
    for (uint32_t index = 0; index < count && valid && !pending; ++index) {
      const PortSlot* slot = find_slot(domain, ports[index]);
      valid = slot != nullptr && slot->load().is_open();
      pending = valid && abi.is_pending(domain, ports[index]);
    }
    if (!valid || pending) domain.poll_mask.fetch_and(~(1u << vcpu));
  });
  if (!valid) return xen_fail(XenErrno::kInval);
  return pending;
}

void EventChannels::end_poll(DomId self, VcpuId vcpu) {
  if (is_valid_domain(self) && vcpu < kMaxVcpus) channels_of(self).poll_mask.fetch_and(~(1u << vcpu));
}

}  // namespace xenopolis::event
