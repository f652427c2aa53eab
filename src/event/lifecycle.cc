// EventChannels: the life of a domain, its vCPUs' doorbells and vcpu_info, and what can be observed.
#include <fmt/format.h>

#include "event/connection.h"
#include "event/setup.h"

namespace xenopolis::event {

Status EventChannels::create_domain(DomId domid, const DomainConfig& config) {
  if (domid >= kDomIdCount) return fail(EINVAL, fmt::format("event channels for domain {}: no such number", domid));
  if (config.vcpus == 0 || config.vcpus > kMaxVcpus) {
    return fail(EINVAL, fmt::format("event channels for {} vCPUs: at most {} are supported", config.vcpus, kMaxVcpus));
  }
  if (config.shared_info == nullptr) return fail(EINVAL, "event channels without shared_info");
  DomainChannels& domain = channels_of(domid);
  if (domain.locks_ready.load(std::memory_order_acquire) == 0) {
    // Only the toolstack creates domains, one at a time.
    domain.lock.init();
    for (VcpuChannels& vcpu : domain.vcpus) vcpu.lock.init();
    domain.used_ports.store(1);
    domain.locks_ready.store(1, std::memory_order_release);
  }
  DomainGuard guard(machine_, domid);
  if (domain.life.load() != Life::kAbsent) return fail(EINVAL, fmt::format("domain {} has event channels", domid));
  domain.offered_abi = config.offered_abi;
  domain.vcpu_count = static_cast<uint8_t>(config.vcpus);
  domain.port_limit = config.max_port == 0 ? 0 : config.max_port + 1;
  domain.shared = static_cast<shared_info*>(config.shared_info);
  domain.events_sent.store(0);
  for (VcpuId vcpu = 0; vcpu < config.vcpus; ++vcpu) {
    with_delivery_lock(machine_, domid, vcpu, [&](VcpuChannels& channels) {
      channels.info.store(&domain.shared->vcpu_info[vcpu]);
      channels.events_delivered.store(0);
      channels.alive.store(1);
    });
  }
  domain.life.store(Life::kAlive, std::memory_order_release);
  return {};
}

void EventChannels::destroy_domain(DomId domid) {
  // Dom0 lives as long as the machine: its slots may be read without a lock.
  if (domid == kDom0 || domid >= kDomIdCount) return;
  DomainChannels& domain = channels_of(domid);
  if (domain.locks_ready.load(std::memory_order_acquire) == 0) return;
  DomainGuard guard(machine_, domid);  // completes a destruction that was cut short
  if (domain.life.load() == Life::kAbsent) return;
  domain.life.store(Life::kDying);
  finish_destroying(machine_, domid);
}

bool EventChannels::domain_exists(DomId domid) const {
  return is_valid_domain(domid);
}

void EventChannels::set_doorbell(DomId domid, VcpuId vcpu, machine::DoorbellId bell, unsigned bit) {
  if (!is_valid_domain(domid) || vcpu >= kMaxVcpus) return;
  bool waiting = false;
  with_delivery_lock(machine_, domid, vcpu, [&](VcpuChannels& channels) {
    if (channels.alive.load() == 0) return;
    channels.bell.store(Bell::encode(bell, bit));
    waiting = std::atomic_ref(channels.info.load()->evtchn_upcall_pending).load() != 0;
  });
  if (waiting) machine_.doorbells().ring(bell, bit);
}

void EventChannels::clear_doorbell(DomId domid, VcpuId vcpu) {
  if (!is_valid_domain(domid) || vcpu >= kMaxVcpus) return;
  with_delivery_lock(machine_, domid, vcpu, [](VcpuChannels& channels) { channels.bell.store(0); });
}

XenStatus EventChannels::register_vcpu_info(DomId domid, VcpuId vcpu, void* info) {
  if (!is_valid_domain(domid)) return xen_fail(XenErrno::kSrch);
  if (vcpu >= channels_of(domid).vcpu_count) return xen_fail(XenErrno::kNoEnt);
  if (info == nullptr || reinterpret_cast<uintptr_t>(info) % alignof(vcpu_info) != 0) return xen_fail(XenErrno::kInval);
  auto* to = static_cast<vcpu_info*>(info);
  XenStatus status;
  with_delivery_lock(machine_, domid, vcpu, [&](VcpuChannels& channels) {
    vcpu_info* from = channels.info.load();
    // Xen allows one move; a vCPU's info in the shared page is the place it starts from.
    if (channels.alive.load() == 0 || from != &channels_of(domid).shared->vcpu_info[vcpu]) {
      status = xen_fail(XenErrno::kInval);
      return;
    }
    to->evtchn_upcall_mask = from->evtchn_upcall_mask;
    to->arch = from->arch;
    to->time = from->time;
    channels.info.store(to);
    // Whatever was pending in the old place is looked for again.
    std::atomic_ref(to->evtchn_pending_sel).store(~xen_ulong_t{0});
    std::atomic_ref(to->evtchn_upcall_pending).store(1);
  });
  if (status) ring(machine_, channels_of(domid), 1u << vcpu);
  return status;
}

vcpu_info* EventChannels::info_of(DomId domid, VcpuId vcpu) const {
  return is_valid_domain(domid) && vcpu < kMaxVcpus ? channels_of(domid).vcpus[vcpu].info.load() : nullptr;
}

XenStatus EventChannels::reset(DomId self, DomId domid) {
  // Bound: the domain's own ports.
  for (;;) {
    if (TRY(reset_some(self, domid, kPortsPerBucket))) return {};
  }
}

XenResult<bool> EventChannels::reset_some(DomId self, DomId domid, uint32_t limit) {
  if (domid == DOMID_SELF) domid = self;
  if (!is_valid_domain(domid)) return xen_fail(XenErrno::kSrch);
  if (self != domid && self != kDom0) return xen_fail(XenErrno::kPerm);
  DomainGuard guard(machine_, domid);
  DomainChannels& domain = channels_of(domid);
  if (domain.life.load() != Life::kAlive) return xen_fail(XenErrno::kSrch);
  // Ports that are not open answer so.
  const auto close_from = [&](Port port, uint32_t count) {
    const uint32_t end = std::min(domain.used_ports.load(), port + count);
    for (; port < end; ++port) [[maybe_unused]] const XenStatus closed = close_port(machine_, domid, port);
    return port;
  };
  const Port next = close_from(std::max<Port>(domain.reset_next.load(), 1), limit);
  if (next < domain.used_ports.load()) {
    domain.reset_next.store(next);
    return false;
  }
  domain.reset_next.store(0);
  // What was opened meanwhile, behind the point that had been reached: rare, and few; else Xen's answer.
  if (domain.open_ports.load() > limit) return xen_fail(XenErrno::kAgain);
  if (domain.open_ports.load() != 0) close_from(1, kMaxPorts);
  if (self == domid) return_to_two_level(machine_, domid);
  return true;
}

DomainCounters EventChannels::counters(DomId domid) const {
  if (!is_valid_domain(domid)) return {};
  const DomainChannels& domain = channels_of(domid);
  DomainCounters counters;
  counters.events_sent = domain.events_sent.load(std::memory_order_relaxed);
  for (VcpuId vcpu = 0; vcpu < domain.vcpu_count; ++vcpu) {
    counters.events_delivered += domain.vcpus[vcpu].events_delivered.load(std::memory_order_relaxed);
  }
  counters.open_ports = domain.open_ports.load(std::memory_order_relaxed);
  return counters;
}

Abi EventChannels::abi(DomId domid) const {
  return is_valid_domain(domid) ? channels_of(domid).abi.load() : Abi::kTwoLevel;
}

uint32_t EventChannels::port_limit(DomId domid) const {
  return is_valid_domain(domid) ? port_limit_of(channels_of(domid)) : 0;
}

}  // namespace xenopolis::event
