#include "event/delivery.h"

#include <algorithm>

#include "event/fault_point.h"
#include "machine/domain_memory.h"

namespace xenopolis::event {
namespace {

// How often a delivery follows a port that is being moved between vCPUs. Only the receiver can move it, and then only
// once per hypercall.
constexpr unsigned kMoveTries = 64;

Port in_journal(const VcpuChannels& vcpu) {
  return JournalEntry::decode(vcpu.journal.load(std::memory_order_relaxed)).port;
}

bool is_cell(machine::DoorbellId id) {
  return id < machine::kCellCount;
}

// The vCPUs that wait in SCHEDOP_poll for `port`.
uint32_t pollers_of(const DomainChannels& domain, Port port) {
  // Sequentially consistent, after PENDING was set: either this sees the poller, or the poller sees PENDING.
  const uint32_t mask = domain.poll_mask.load();
  uint32_t pollers = 0;
  for (VcpuId vcpu = 0; mask != 0 && vcpu < kMaxVcpus; ++vcpu) {
    if ((mask & (1u << vcpu)) == 0) continue;
    const Port polled = domain.vcpus[vcpu].polled_port.load(std::memory_order_relaxed);
    if (polled == kAnyPort || polled == port) pollers |= 1u << vcpu;
  }
  return pollers;
}

// Marks the vCPUs for their runners while the lock is still held: a sender that dies between unlocking and ringing
// leaves out a wake-up only, which Doorbells::poke_all() makes good. A Dom0 vCPU's consumer looks at its queues
// whenever it is poked, and a mark would keep ring() from writing its eventfd.
void mark(const DomainChannels& domain, uint32_t vcpus) {
  for (VcpuId vcpu = 0; vcpu < kMaxVcpus; ++vcpu) {
    const uint64_t bits = (vcpus & (1u << vcpu)) != 0 ? domain.vcpus[vcpu].bell.load() : 0;
    if (bits == 0) continue;
    const Bell bell = Bell::decode(bits);
    if (is_cell(bell.id)) machine::doorbell(bell.id).wake.fetch_or(1ull << bell.bit);
  }
}

// With the locks held. Returns the vCPUs to ring.
uint32_t deliver_locked(const EventAbi& abi, const Delivery& delivery, Purpose purpose) {
  auto& [domain, vcpu_id, port, slot] = delivery;
  VcpuChannels& vcpu = domain.vcpus[vcpu_id];
  const bool resume = purpose == Purpose::kResume || in_journal(vcpu) == port;
  vcpu.journal.store(JournalEntry{.port = port}.encode(), std::memory_order_release);
  fault_point("deliver: in the journal");
  uint32_t rung = 0;
  bool pending = true;
  if (purpose == Purpose::kUnmask) {
    abi.clear_mask(domain, port);
    fault_point("deliver: unmasked");
    pending = abi.is_pending(domain, port);
  }
  if (pending) {
    const Raised raised = abi.set_pending(delivery);
    fault_point("deliver: in the guest's memory");
    if (raised.upcall || resume) {
      if (raise_upcall(vcpu) || resume) rung |= 1u << vcpu_id;
      fault_point("deliver: upcall");
    }
    if (raised.newly_pending) domain.events_delivered.fetch_add(1, std::memory_order_relaxed);
    if (raised.newly_pending || resume) rung |= pollers_of(domain, port);
    mark(domain, rung);
    fault_point("deliver: marked");
  }
  vcpu.journal.store(0, std::memory_order_release);
  fault_point("deliver: out of the journal");
  return rung;
}

// With the lock, whose holder died.
void repair_delivery(DomainChannels& domain, VcpuId vcpu_id) {
  VcpuChannels& vcpu = domain.vcpus[vcpu_id];
  const JournalEntry entry = JournalEntry::decode(vcpu.journal.load(std::memory_order_relaxed));
  if (vcpu.alive.load(std::memory_order_relaxed) == 0) {
    vcpu.journal.store(0, std::memory_order_release);
  } else if (entry.port != 0 && entry.linking) {
    abi_of(domain.abi.load(std::memory_order_relaxed)).finish_linking(domain, vcpu_id, entry);
    // The rest is done once more, by finish_journal().
    vcpu.journal.store(JournalEntry{.port = entry.port}.encode(), std::memory_order_release);
  }
}

// Delivers what the vCPU's journal names, whose sender died. The entry stays until that is done: if this process dies
// too, the next one finds it.
void finish_journal(machine::Machine& machine, DomId domid, VcpuId vcpu_id) {
  DomainChannels& domain = channels_of(domid);
  VcpuChannels& vcpu = domain.vcpus[vcpu_id];
  lock_delivery(machine, domid, vcpu_id);
  const Port port = in_journal(vcpu);
  vcpu.lock.unlock();
  if (port == 0) return;
  deliver(machine, domid, port, Expectation::open(), Purpose::kResume);
  lock_delivery(machine, domid, vcpu_id);
  // Still there when the port is closed, or notifies another vCPU by now.
  if (in_journal(vcpu) == port) vcpu.journal.store(0, std::memory_order_release);
  vcpu.lock.unlock();
}

}  // namespace

bool Expectation::holds(PortWord word) const {
  switch (state) {
    case PortState::kFree:
      return word.is_open();
    case PortState::kInterdomain:
      return word.is_connected_to(remote_domid, remote_port);
    case PortState::kVirq:
      return word.state() == PortState::kVirq && word.virq() == virq;
    default:
      return word.state() == state;
  }
}

bool raise_upcall(VcpuChannels& vcpu) {
  vcpu_info* info = vcpu.info.load(std::memory_order_relaxed);
  // When it was raised already, whoever raised it rang, and a vCPU does not block with an upcall raised.
  return std::atomic_ref(info->evtchn_upcall_pending).exchange(1) == 0;
}

void ring(machine::Machine& machine, const DomainChannels& domain, uint32_t vcpus) {
  for (VcpuId vcpu = 0; vcpus >> vcpu != 0; ++vcpu) {
    const uint64_t bits = (vcpus & (1u << vcpu)) != 0 ? domain.vcpus[vcpu].bell.load() : 0;
    if (bits == 0) continue;
    const Bell bell = Bell::decode(bits);
    machine.doorbells().ring(bell.id, bell.bit);
  }
}

bool lock_delivery(machine::Machine& machine, DomId domid, VcpuId vcpu) {
  DomainChannels& domain = channels_of(domid);
  VcpuChannels& channels = domain.vcpus[vcpu];
  const bool holder_died = channels.lock.lock() == machine::RobustLock::Taken::kHolderDied;
  // While a domain is alive, its memory stays where it is. Cells map a stranger's memory when they first need it, which
  // can fail for want of mappings: then there is no event.
  const bool usable = channels.alive.load(std::memory_order_relaxed) != 0 &&
                      machine.reach(machine::memory_of(domid).extent).has_value();
  if (holder_died) {
    if (usable || channels.alive.load(std::memory_order_relaxed) == 0) repair_delivery(domain, vcpu);
    channels.lock.mark_repaired();
  }
  return usable;
}

void unlock_delivery(machine::Machine& machine, DomId domid, VcpuId vcpu) {
  VcpuChannels& channels = channels_of(domid).vcpus[vcpu];
  const bool unfinished = in_journal(channels) != 0;
  channels.lock.unlock();
  if (unfinished) finish_journal(machine, domid, vcpu);
}

VcpuId guess_vcpu(const DomainChannels& domain, DomId domid, Port port) {
  // Only Dom0's slots may be read without a lock; other domains mostly have one vCPU.
  if (domid != kDom0) return 0;
  const PortSlot* slot = find_slot(domain, port);
  return slot == nullptr ? 0 : slot->load().vcpu();
}

bool deliver(machine::Machine& machine, DomId domid, Port port, const Expectation& expectation, Purpose purpose) {
  DomainChannels& domain = channels_of(domid);
  if (domain.locks_ready.load(std::memory_order_acquire) == 0) return false;
  VcpuId vcpu = guess_vcpu(domain, domid, port);
  VcpuId other = vcpu;
  for (unsigned tries = 0; tries < kMoveTries; ++tries) {
    // Two delivery locks of one domain are taken in the order of their vCPUs.
    const auto [first, second] = std::minmax(vcpu, other);
    bool usable = lock_delivery(machine, domid, first);
    if (second != first) usable = lock_delivery(machine, domid, second) && usable;
    fault_point("deliver: locked");
    const auto unlock = [&, first = first, second = second] {
      const bool unfinished = second != first && in_journal(domain.vcpus[second]) != 0;
      if (second != first) domain.vcpus[second].lock.unlock();
      unlock_delivery(machine, domid, first);
      if (unfinished) finish_journal(machine, domid, second);
    };
    PortSlot* slot = usable ? find_slot(domain, port) : nullptr;
    const PortWord word = slot == nullptr ? PortWord{} : slot->load();
    if (!expectation.holds(word)) {
      unlock();
      return false;
    }
    const EventAbi& abi = abi_of(domain.abi.load(std::memory_order_relaxed));
    const VcpuId needed = abi.other_vcpu(word);
    if (word.vcpu() != vcpu || (needed != vcpu && needed != other)) {
      unlock();
      vcpu = word.vcpu();
      other = needed;
    } else if (const Port begun = in_journal(domain.vcpus[vcpu]); begun != 0 && begun != port) {
      unlock();  // and finish what the journal names first: it has room for one
    } else {
      const uint32_t rung = deliver_locked(abi, Delivery{domain, vcpu, port, *slot}, purpose);
      unlock();
      fault_point("deliver: unlocked");
      ring(machine, domain, rung);
      return true;
    }
  }
  return false;
}

}  // namespace xenopolis::event
