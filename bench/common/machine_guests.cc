#include "common/machine_guests.h"

#include <atomic>

#include "common/basics.h"
#include "event/consumer.h"
#include "machine/domain_memory.h"

namespace xenopolis::bench {
namespace {

constexpr uint64_t kRamPages = 1;  // shared_info is behind it

machine::DoorbellId bell_of(DomId domid) {
  return domid / machine::kVcpusPerDoorbell;
}

// As a guest's upcall does. True: something was pending.
bool acknowledge(DomId domid) {
  auto& shared = *reinterpret_cast<shared_info*>(machine::memory_of(domid).page(kRamPages));
  std::atomic_ref(shared.vcpu_info[0].evtchn_upcall_pending).exchange(0);
  std::atomic_ref(shared.vcpu_info[0].evtchn_pending_sel).exchange(0);
  return std::atomic_ref(shared.evtchn_pending[0]).exchange(0) != 0;
}

}  // namespace

MachineGuests::MachineGuests() : machine_(value_or_give_up(machine::Machine::create())), channels_(machine_) {
  if (const Status created = event::create_dom0(channels_, event::Abi::kFifo); !created) {
    give_up("{}", created.error().message());
  }
}

void MachineGuests::add(DomId domid) {
  machine::DomainMemory& memory = machine::memory_of(domid);
  memory.extent = value_or_give_up(machine_.frames().allocate_extent(kRamPages + 1));
  memory.ram_pages = kRamPages;
  event::DomainConfig config;
  config.shared_info = memory.page(kRamPages);
  require(channels_.create_domain(domid, config).has_value(), "a domain can be created");
  channels_.set_doorbell(domid, 0, bell_of(domid), domid % machine::kVcpusPerDoorbell);
  const XenResult<Port> port = channels_.alloc_unbound(domid, domid, kDom0);
  require(port.has_value() && *port < 64, "a guest's first port is in the first word of its bitmap");
  if (ports_.size() <= domid) ports_.resize(domid + 1u);
  ports_[domid] = *port;
}

uint8_t* MachineGuests::page(DomId domid) {
  return machine::memory_of(domid).page(kPageGfn);
}

void MachineGuests::notify(DomId domid) {
  if (!channels_.send(domid, ports_[domid])) give_up("domain {} cannot notify the daemon", domid);
}

// Numbered by what must not be lost: an event that comes
// 1. before the acknowledgement is found pending there, and the caller looks at its ring;
// 2. after it is pending anew, which marks the doorbell, and sleep() returns.
bool MachineGuests::wait(DomId domid) {
  machine::Doorbells& doorbells = machine_.doorbells();
  const machine::DoorbellId bell = bell_of(domid);
  if (adopted_.insert(bell).second) doorbells.adopt(bell);
  if (acknowledge(domid)) return true;
  const uint64_t deadline = now_ns() + uint64_t{kPatienceMs} * 1'000'000;
  doorbells.sleep(bell, deadline);
  doorbells.take(bell);
  return now_ns() < deadline;
}

}  // namespace xenopolis::bench
