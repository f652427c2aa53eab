#include "event/setup.h"

#include <algorithm>

#include "event/connection.h"
#include "base/fault_point.h"
#include "event/fifo.h"
#include "event/three_level.h"
#include "event/two_level.h"
#include "machine/domain_memory.h"

namespace xenopolis::event {
namespace {

void forget_queues(VcpuChannels& vcpu) {
  vcpu.control.store(nullptr);
  vcpu.selector.store(nullptr);
  vcpu.journal.store(0);
  for (auto& tail : vcpu.tails) tail.store(0);
}

// After this, no delivery is under way that has seen the domain as it was before.
void wait_for_deliveries(machine::Machine& machine, DomId domid) {
  for (VcpuId vcpu = 0; vcpu < kMaxVcpus; ++vcpu) with_delivery_lock(machine, domid, vcpu, [](VcpuChannels&) {});
}

// All with the domain lock.

// What is pending in the 2-level bitmap becomes pending when the array page arrives. Bound: the 2-level port numbers.
void carry_over_to_fifo(machine::Machine& machine, DomId domid) {
  DomainChannels& domain = channels_of(domid);
  const Port end = std::min(kTwoLevelPorts, domain.used_ports.load(std::memory_order_relaxed));
  for (Port port = 1; port < end; ++port) {
    with_port_locked(machine, domid, port, [&](PortSlot& slot, PortWord word) {
      if (!word.is_open() || !kTwoLevelAbi.is_pending(domain, port)) return;
      slot.store(word.with_saved_pending(true));
      fault_point("switch: saved");
      // After a reset the bit would make the port's first event look like a second one.
      kTwoLevelAbi.clear_pending(domain, port);
    });
  }
}

// Nobody is told of it now: vCPUs look at everything when they get their selector.
void carry_over_to_three_level(DomainChannels& domain) {
  for (Port port = 0; port < kTwoLevelPorts; port += kBitsPerWord) {
    const uint32_t index = port / kBitsPerWord;
    kThreeLevelAbi.mask_word(domain, port).fetch_or(BitmapWord(domain.shared->evtchn_mask[index]).load());
    const xen_ulong_t pending = BitmapWord(domain.shared->evtchn_pending[index]).load();
    kThreeLevelAbi.pending_word(domain, port).fetch_or(pending);
    BitmapWord(domain.shared->evtchn_pending[index]).fetch_and(~pending);  // as above
  }
}

void switch_to(machine::Machine& machine, DomId domid, Abi abi) {
  channels_of(domid).switching_to.store(abi);
  finish_switching(machine, domid);
}

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
    // The caller is the domain itself, whose buckets stay; but another of its vCPUs may reset it: then nothing waits.
    const PortSlot* slot = find_slot(domain, port);
    if (slot == nullptr) return;
    if (!slot->load().saved_pending()) continue;
    deliver(machine, domid, port, Expectation::open(), Purpose::kSend);
  }
}

}  // namespace

const EventAbi& abi_of(Abi abi) {
  static constexpr const EventAbi* kAbis[] = {&kTwoLevelAbi, &kThreeLevelAbi, &kFifoAbi};
  return *kAbis[static_cast<size_t>(abi)];
}

void finish_switching(machine::Machine& machine, DomId domid) {
  DomainChannels& domain = channels_of(domid);
  const Abi to = domain.switching_to.load();
  if (to == Abi::kTwoLevel) return;
  domain.abi.store(to);
  fault_point("switch: new ABI");
  wait_for_deliveries(machine, domid);
  if (to == Abi::kFifo) {
    carry_over_to_fifo(machine, domid);
  } else {
    carry_over_to_three_level(domain);
  }
  fault_point("switch: carried over");
  domain.switching_to.store(Abi::kTwoLevel);
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
  if (domain.abi.load() != Abi::kFifo) switch_to(machine, domid, Abi::kFifo);
  return {};
}

XenStatus install_bitmaps(machine::Machine& machine, DomId domid, const BitmapFrames& frames) {
  DomainChannels& domain = channels_of(domid);
  DomainGuard guard(machine, domid);
  if (domain.life.load() != Life::kAlive) return xen_fail(XenErrno::kSrch);
  if (domain.abi.load() != Abi::kTwoLevel) return xen_fail(XenErrno::kBusy);
  for (size_t index = 0; index < frames.size(); ++index) {
    domain.array[index].store(static_cast<uint32_t>(machine::frame_of(frames[index])), std::memory_order_relaxed);
  }
  domain.array_pages.store(static_cast<uint32_t>(frames.size()), std::memory_order_release);
  fault_point("switch: bitmaps");
  switch_to(machine, domid, Abi::kThreeLevel);
  return {};
}

XenStatus install_selector(machine::Machine& machine, DomId domid, VcpuId vcpu, xen_ulong_t* selector) {
  DomainChannels& domain = channels_of(domid);
  XenStatus status;
  {
    DomainGuard guard(machine, domid);
    if (domain.life.load() != Life::kAlive) return xen_fail(XenErrno::kSrch);
    if (domain.abi.load() != Abi::kThreeLevel) return xen_fail(XenErrno::kOpNotSupp);
    with_delivery_lock(machine, domid, vcpu, [&](VcpuChannels& channels) {
      if (channels.selector.load() != nullptr) {
        status = xen_fail(XenErrno::kInval);
        return;
      }
      // In this order: when this process dies halfway, the vCPU has no selector yet, and can get one.
      select_all(channels, selector);
      raise_upcall(channels);
      fault_point("switch: selected");
      channels.selector.store(selector);
      fault_point("switch: selector");
    });
  }
  if (status) ring(machine, domain, 1u << vcpu);
  return status;
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

void return_to_two_level(machine::Machine& machine, DomId domid) {
  DomainChannels& domain = channels_of(domid);
  // First, no number is valid any more, for whoever looks from now on: 2-level's bitmaps have no bits for the higher
  // ones. The words of closed ports may stay as they are.
  domain.used_ports.store(1, std::memory_order_release);
  wait_for_deliveries(machine, domid);
  domain.abi.store(Abi::kTwoLevel);
  domain.array_pages.store(0);
  for (VcpuId vcpu = 0; vcpu < kMaxVcpus; ++vcpu) {
    with_delivery_lock(machine, domid, vcpu, [](VcpuChannels& channels) { forget_queues(channels); });
  }
  fault_point("reset: 2-level");
  rebuild_free_ports(domain);
}

void finish_destroying(machine::Machine& machine, DomId domid) {
  DomainChannels& domain = channels_of(domid);
  for (VcpuId vcpu = 0; vcpu < kMaxVcpus; ++vcpu) {
    with_delivery_lock(machine, domid, vcpu, [](VcpuChannels& channels) {
      channels.alive.store(0);
      channels.bell.store(0);
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
  domain.reset_next.store(0);
  domain.switching_to.store(Abi::kTwoLevel);
  domain.shared = nullptr;
  domain.life.store(Life::kAbsent);
}

}  // namespace xenopolis::event
