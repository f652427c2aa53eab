#include "event/setup.h"

#include <algorithm>

#include "event/connection.h"
#include "event/fault_point.h"
#include "event/fifo.h"
#include "event/two_level.h"
#include "machine/domain_memory.h"

namespace xenopolis::event {
namespace {

void forget_queues(VcpuChannels& vcpu) {
  vcpu.journal.store(0);
  for (auto& tail : vcpu.tails) tail.store(0);
}

// After this, no delivery is under way that has seen the domain as it was before.
void wait_for_deliveries(machine::Machine& machine, DomId domid) {
  for (VcpuId vcpu = 0; vcpu < kMaxVcpus; ++vcpu) with_delivery_lock(machine, domid, vcpu, [](VcpuChannels&) {});
}

// With the domain lock.
XenStatus append_array_page(DomainChannels& domain, void* page) {
  const uint32_t count = domain.array_pages.load(std::memory_order_relaxed);
  if (count >= kMaxArrayPages) return xen_fail(XenErrno::kNoSpc);
  domain.array[count].store(static_cast<uint32_t>(machine::frame_of(page)), std::memory_order_relaxed);
  domain.array_pages.store(count + 1, std::memory_order_release);
  fault_point("expand: added");
  return {};
}

// Without the domain lock: events that came while array page `index` was missing.
void deliver_saved(machine::Machine& machine, DomId domid, uint32_t index) {
  DomainChannels& domain = channels_of(domid);
  // A delivery that did not yet see the page has saved its event when this returns.
  wait_for_deliveries(machine, domid);
  const Port end = std::min((index + 1) * kEventWordsPerPage, domain.used_ports.load(std::memory_order_acquire));
  for (Port port = std::max<Port>(index * kEventWordsPerPage, 1); port < end; ++port) {
    // The caller is the domain itself, whose slots stay.
    if (!find_slot(domain, port)->load().saved_pending()) continue;
    deliver(machine, domid, port, Expectation::open(), Purpose::kSend);
  }
}

}  // namespace

const EventAbi& abi_of(Abi abi) {
  static const TwoLevelAbi two_level;
  static const FifoAbi fifo;
  if (abi == Abi::kFifo) return fifo;
  return two_level;
}

void finish_switching(machine::Machine& machine, DomId domid) {
  DomainChannels& domain = channels_of(domid);
  if (domain.switching.load() == 0) return;
  domain.abi.store(Abi::kFifo);
  fault_point("switch: FIFO");
  wait_for_deliveries(machine, domid);
  // What is pending in the bitmap becomes pending when the array page arrives. Bound: the 2-level port numbers.
  const Port end = std::min(kTwoLevelPorts, domain.used_ports.load(std::memory_order_relaxed));
  const EventAbi& two_level = abi_of(Abi::kTwoLevel);
  for (Port port = 1; port < end; ++port) {
    with_port_locked(machine, domid, port, [&](PortSlot& slot, PortWord word) {
      if (word.is_open() && two_level.is_pending(domain, port)) slot.store(word.with_saved_pending(true));
    });
  }
  fault_point("switch: carried over");
  domain.switching.store(0);
}

XenStatus install_control_block(machine::Machine& machine, DomId domid, VcpuId vcpu, evtchn_fifo_control_block* block) {
  DomainChannels& domain = channels_of(domid);
  DomainGuard guard(machine, domid);
  if (domain.life.load() != Life::kAlive) return xen_fail(XenErrno::kSrch);
  bool installed = false;
  with_delivery_lock(machine, domid, vcpu, [&](VcpuChannels& channels) {
    installed = channels.control.load() == nullptr;
    if (installed) channels.control.store(block);
  });
  if (!installed) return xen_fail(XenErrno::kInval);
  fault_point("switch: control block");
  if (domain.abi.load() != Abi::kFifo) {
    domain.switching.store(1);
    finish_switching(machine, domid);
  }
  return {};
}

XenStatus add_array_page(machine::Machine& machine, DomId domid, void* page) {
  DomainChannels& domain = channels_of(domid);
  uint32_t index = 0;
  {
    DomainGuard guard(machine, domid);
    if (domain.life.load() != Life::kAlive) return xen_fail(XenErrno::kSrch);
    if (domain.abi.load() != Abi::kFifo) return xen_fail(XenErrno::kOpNotSupp);
    index = domain.array_pages.load(std::memory_order_relaxed);
    TRY_VOID(append_array_page(domain, page));
  }
  deliver_saved(machine, domid, index);
  return {};
}

XenStatus grow_dom0_array(machine::Machine& machine, Port port) {
  DomainChannels& domain = channels_of(kDom0);
  const uint32_t needed = port / kEventWordsPerPage + 1;
  // Bound: kMaxArrayPages, and mostly none.
  while (domain.array_pages.load(std::memory_order_acquire) < needed) {
    uint32_t index = 0;
    {
      DomainGuard guard(machine, kDom0);
      index = domain.array_pages.load(std::memory_order_relaxed);
      if (index >= needed) break;
      void* page = machine.frames().allocate_page();
      if (page == nullptr) return xen_fail(XenErrno::kNoMem);
      std::fill_n(static_cast<event_word_t*>(page), kEventWordsPerPage, kMaskedBit);
      TRY_VOID(append_array_page(domain, page));
    }
    deliver_saved(machine, kDom0, index);
  }
  return {};
}

void restart_dom0_queues(machine::Machine& machine, VcpuId vcpu) {
  DomainChannels& domain = channels_of(kDom0);
  const uint32_t used = domain.used_ports.load(std::memory_order_acquire);
  if (domain.abi.load() == Abi::kTwoLevel) {
    with_delivery_lock(machine, kDom0, vcpu, [&](VcpuChannels& channels) {
      vcpu_info* info = channels.info.load();
      std::atomic_ref(info->evtchn_pending_sel).store(~xen_ulong_t{0});
      raise_upcall(channels);
    });
    ring(machine, domain, 1u << vcpu);
    return;
  }
  with_delivery_lock(machine, kDom0, vcpu, [&](VcpuChannels& channels) {
    for (Port port = 1; port < used; ++port) {
      event_word_t* word = event_word(domain, port);
      if (word == nullptr || find_slot(domain, port)->load().last_vcpu() != vcpu) continue;
      if ((std::atomic_ref(*word).load() & kLinkedBit) == 0) continue;
      std::atomic_ref(*word).fetch_and(~(kLinkedBit | kBusyBit | kLinkMask));
    }
    for (auto& tail : channels.tails) tail.store(0);
    if (auto* control = channels.control.load()) std::atomic_ref(control->ready).store(0);
  });
  fault_point("restart: unlinked");
  for (Port port = 1; port < used; ++port) {
    const PortWord word = find_slot(domain, port)->load();
    if (!word.is_open() || (word.vcpu() != vcpu && word.last_vcpu() != vcpu)) continue;
    const event_word_t* address = event_word(domain, port);
    if (address == nullptr) continue;
    const event_word_t event = std::atomic_ref(*const_cast<event_word_t*>(address)).load();
    const bool waits = (event & kPendingBit) != 0 && (event & (kMaskedBit | kLinkedBit)) == 0;
    if (waits || word.saved_pending()) deliver(machine, kDom0, port, Expectation::open(), Purpose::kResume);
  }
}

void return_to_two_level(machine::Machine& machine, DomId domid) {
  DomainChannels& domain = channels_of(domid);
  domain.abi.store(Abi::kTwoLevel);
  domain.array_pages.store(0);
  for (VcpuId vcpu = 0; vcpu < kMaxVcpus; ++vcpu) {
    with_delivery_lock(machine, domid, vcpu, [](VcpuChannels& channels) {
      channels.control.store(nullptr);
      forget_queues(channels);
    });
  }
  fault_point("reset: 2-level");
  // Numbers beyond the 2-level limit must not come back from the free queue. Nobody writes the words of free ports.
  const uint32_t used = domain.used_ports.load(std::memory_order_relaxed);
  for (Port port = 1; port < used; ++port) find_slot(domain, port)->store(PortWord{});
  domain.used_ports.store(1, std::memory_order_release);
  rebuild_free_ports(domain);
}

void finish_destroying(machine::Machine& machine, DomId domid) {
  DomainChannels& domain = channels_of(domid);
  for (VcpuId vcpu = 0; vcpu < kMaxVcpus; ++vcpu) {
    with_delivery_lock(machine, domid, vcpu, [](VcpuChannels& channels) {
      channels.alive.store(0);
      channels.bell.store(0);
      channels.control.store(nullptr);
      channels.info.store(nullptr);
      forget_queues(channels);
      for (auto& port : channels.virq_ports) port.store(0);
    });
  }
  fault_point("destroy: dead");
  abandon_ports(machine, domid);
  domain.abi.store(Abi::kTwoLevel);
  domain.array_pages.store(0);
  domain.poll_mask.store(0);
  domain.switching.store(0);
  domain.shared = nullptr;
  domain.life.store(Life::kAbsent);
}

}  // namespace xenopolis::event
