#include "event/delivery.h"

#include <bit>

#include "base/fault_point.h"
#include "machine/domain_memory.h"
#include "machine/statistics.h"

namespace xenopolis::event {
namespace {

// How often a delivery follows a port that is being moved between vCPUs, before it takes the locks of them all: then
// the port stays where it is.
constexpr unsigned kMoveTries = 4;
constexpr uint32_t kEveryVcpu = (1u << kMaxVcpus) - 1;

Port in_journal(const VcpuChannels& vcpu) {
  return JournalEntry::decode(vcpu.journal.load(std::memory_order_relaxed)).port;
}

template <class Body>
void for_each_vcpu(uint32_t vcpus, Body&& body) {
  for (; vcpus != 0; vcpus &= vcpus - 1) body(static_cast<VcpuId>(std::countr_zero(vcpus)));
}

bool is_cell(machine::DoorbellId id) {
  return id < machine::kCellCount;
}

// The vCPUs that wait in SCHEDOP_poll for `port`.
uint32_t pollers_of(const DomainChannels& domain, Port port) {
  // Sequentially consistent, after PENDING was set: either this sees the poller, or the poller sees PENDING.
  uint32_t pollers = 0;
  for_each_vcpu(domain.poll_mask.load(), [&](VcpuId vcpu) {
    const Port polled = domain.vcpus[vcpu].polled_port.load(std::memory_order_relaxed);
    if (polled == kAnyPort || polled == port) pollers |= 1u << vcpu;
  });
  return pollers;
}

// Marks the vCPUs for their runners while the lock is still held: a sender that dies between unlocking and ringing
// leaves out a wake-up only, which Doorbells::poke_all() makes good. A Dom0 vCPU's consumer looks at its queues
// whenever it is poked, and a mark would keep ring() from writing its eventfd.
void mark(const DomainChannels& domain, uint32_t vcpus) {
  for_each_vcpu(vcpus, [&](VcpuId vcpu) {
    const std::optional<Bell> bell = Bell::decode(domain.vcpus[vcpu].bell.load());
    if (bell && is_cell(bell->id)) machine::doorbell(bell->id).wake.fetch_or(1ull << bell->bit);
  });
}

void count_sent(Abi abi, uint8_t priority) {
  using machine::Statistics;
  static_assert(std::size(kAbiNames) <= Statistics::kAbis && EVTCHN_FIFO_MAX_QUEUES <= Statistics::kPriorities);
  if (Statistics* mine = machine::my_statistics; mine != nullptr) {
    machine::count(mine->events_sent[static_cast<size_t>(abi)][priority]);
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
    if (raised.newly_pending) {
      // The lock makes this exact.
      const uint64_t delivered = vcpu.events_delivered.load(std::memory_order_relaxed);
      vcpu.events_delivered.store(delivered + 1, std::memory_order_relaxed);
      count_sent(domain.abi.load(std::memory_order_relaxed), slot.load().priority());
    }
    if (raised.newly_pending || resume) rung |= pollers_of(domain, port);
    if (rung != 0) mark(domain, rung);
    fault_point("deliver: marked");
  }
  vcpu.journal.store(0, std::memory_order_release);
  fault_point("deliver: out of the journal");
  return rung;
}

// With the lock, whose holder died at some time.
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
// too, or cannot map the domain's memory, the next one finds it. Bound: a turn more for each sender that dies
// meanwhile.
void finish_journal(machine::Machine& machine, DomId domid, VcpuId vcpu_id) {
  DomainChannels& domain = channels_of(domid);
  VcpuChannels& vcpu = domain.vcpus[vcpu_id];
  for (Port delivered_elsewhere = 0;;) {
    const bool usable = lock_delivery(machine, domid, vcpu_id);
    const bool left_to_others = !usable && vcpu.alive.load(std::memory_order_relaxed) != 0;
    const Port port = left_to_others ? 0 : in_journal(vcpu);
    const PortSlot* slot = usable ? find_slot(domain, port) : nullptr;
    const PortWord word = slot == nullptr ? PortWord{} : slot->load();
    const bool here = word.is_open() && word.vcpu() == vcpu_id;
    // A delivery empties the journal of the vCPU that the port notifies. So an entry that is still there has been made
    // by another sender, who died too; or it is about a port that is closed, or notifies another vCPU by now.
    const bool done = port != 0 && !here && (!word.is_open() || port == delivered_elsewhere);
    if (done) vcpu.journal.store(0, std::memory_order_release);
    vcpu.lock.unlock();
    if (port == 0 || done) return;
    deliver(machine, domid, port, Expectation::open(), Purpose::kResume);
    delivered_elsewhere = here ? 0 : port;
  }
}

// The delivery locks of one domain's `vcpus`, in the order of their numbers. True: all can be used.
bool lock_deliveries(machine::Machine& machine, DomId domid, uint32_t vcpus) {
  bool usable = true;
  for_each_vcpu(vcpus, [&](VcpuId vcpu) { usable = lock_delivery(machine, domid, vcpu) && usable; });
  return usable;
}

void unlock_deliveries(machine::Machine& machine, DomId domid, uint32_t vcpus) {
  uint32_t unfinished = 0;
  for_each_vcpu(vcpus, [&](VcpuId vcpu) {
    VcpuChannels& channels = channels_of(domid).vcpus[vcpu];
    if (in_journal(channels) != 0) unfinished |= 1u << vcpu;
    channels.lock.unlock();
  });
  for_each_vcpu(unfinished, [&](VcpuId vcpu) { finish_journal(machine, domid, vcpu); });
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
  for_each_vcpu(vcpus, [&](VcpuId vcpu) {
    if (const auto bell = Bell::decode(domain.vcpus[vcpu].bell.load())) machine.doorbells().ring(bell->id, bell->bit);
  });
}

bool lock_delivery(machine::Machine& machine, DomId domid, VcpuId vcpu) {
  DomainChannels& domain = channels_of(domid);
  VcpuChannels& channels = domain.vcpus[vcpu];
  const bool holder_died = channels.lock.lock() == machine::RobustLock::Taken::kHolderDied;
  // While a domain is alive, its memory stays where it is. Cells map a stranger's memory when they first need it, which
  // can fail for want of mappings: then there is no event.
  const bool alive = channels.alive.load(std::memory_order_relaxed) != 0;
  const bool usable = alive && machine.reach(machine::memory_of(domid).extent).has_value();
  // Of the last holder, or of one before whom nobody since could repair for want of mappings.
  const bool left_behind = channels.journal.load(std::memory_order_relaxed) != 0;
  if (left_behind && (usable || !alive)) repair_delivery(domain, vcpu);
  if (holder_died) channels.lock.mark_repaired();
  return usable;
}

void unlock_delivery(machine::Machine& machine, DomId domid, VcpuId vcpu) {
  unlock_deliveries(machine, domid, 1u << vcpu);
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
  uint32_t locked = 1u << guess_vcpu(domain, domid, port);
  // Bound: a turn follows a port that has moved meanwhile, until every vCPU is locked; or it finishes what a dead
  // sender has left.
  for (unsigned moves = 0;;) {
    fault_point("deliver: about to lock");
    const bool usable = lock_deliveries(machine, domid, locked);
    fault_point("deliver: locked");
    PortSlot* slot = usable ? find_slot(domain, port) : nullptr;
    const PortWord word = slot == nullptr ? PortWord{} : slot->load();
    if (!expectation.holds(word)) {
      unlock_deliveries(machine, domid, locked);
      return false;
    }
    const EventAbi& abi = abi_of(domain.abi.load(std::memory_order_relaxed));
    const uint32_t needed = 1u << word.vcpu() | 1u << abi.other_vcpu(word);
    if ((needed & ~locked) != 0) {
      unlock_deliveries(machine, domid, locked);
      locked = ++moves < kMoveTries ? needed : kEveryVcpu;
    } else if (const Port begun = in_journal(domain.vcpus[word.vcpu()]); begun != 0 && begun != port) {
      unlock_deliveries(machine, domid, locked);  // and finish what the journal names first: it has room for one
    } else {
      const uint32_t rung = deliver_locked(abi, Delivery{domain, word.vcpu(), port, *slot}, purpose);
      unlock_deliveries(machine, domid, locked);
      fault_point("deliver: unlocked");
      ring(machine, domain, rung);
      return true;
    }
  }
}

}  // namespace xenopolis::event
