// Domain 0: its shared pages, which are the machine's, and what a consumer's successor finds in them.
#include <algorithm>

#include "event/connection.h"
#include "event/dom0_side.h"
#include "base/fault_point.h"
#include "event/fifo.h"
#include "event/setup.h"
#include "event/three_level.h"

namespace xenopolis::event {
namespace {

constexpr uint32_t kSelectorSize = kSelectorWords * sizeof(xen_ulong_t);
static_assert(machine::kDom0VcpuCount * kSelectorSize <= kPageSize);

// Control blocks of different vCPUs do not share a cache line.
constexpr uint64_t kControlBlockStride = 128;
static_assert(sizeof(evtchn_fifo_control_block) <= kControlBlockStride);
static_assert(machine::kDom0VcpuCount * kControlBlockStride <= kPageSize);

Status set_up_fifo(machine::Machine& machine) {
  auto* control = static_cast<uint8_t*>(machine.frames().allocate_page());
  if (control == nullptr) return fail(ENOMEM, "a page for Dom0's control blocks");
  for (VcpuId vcpu = 0; vcpu < machine::kDom0VcpuCount; ++vcpu) {
    auto* block = reinterpret_cast<evtchn_fifo_control_block*>(control + vcpu * kControlBlockStride);
    if (!install_control_block(machine, kDom0, vcpu, block)) return fail(EINVAL, "Dom0's control blocks");
  }
  if (!grow_dom0_array(machine, 0)) return fail(ENOMEM, "a page for Dom0's event array");
  return {};
}

Status set_up_three_level(machine::Machine& machine) {
  BitmapFrames frames{};
  for (size_t index = 0; index < frames.size(); ++index) {
    frames[index] = machine.frames().allocate_page();
    if (frames[index] == nullptr) return fail(ENOMEM, "pages for Dom0's event bitmaps");
    if (index >= kBitmapFrames) std::fill_n(static_cast<uint8_t*>(frames[index]), kPageSize, 0xff);  // masked
  }
  auto* selectors = static_cast<uint8_t*>(machine.frames().allocate_page());
  if (selectors == nullptr) return fail(ENOMEM, "a page for Dom0's selectors");
  if (!install_bitmaps(machine, kDom0, frames)) return fail(EINVAL, "Dom0's event bitmaps");
  for (VcpuId vcpu = 0; vcpu < machine::kDom0VcpuCount; ++vcpu) {
    auto* selector = reinterpret_cast<xen_ulong_t*>(selectors + vcpu * kSelectorSize);
    if (!install_selector(machine, kDom0, vcpu, selector)) return fail(EINVAL, "Dom0's selectors");
  }
  return {};
}

}  // namespace

Status create_dom0(EventChannels& channels, Abi abi) {
  machine::Machine& machine = channels.machine();
  auto* shared = static_cast<shared_info*>(machine.frames().allocate_page());
  if (shared == nullptr) return fail(ENOMEM, "a page for Dom0's shared_info");
  std::fill(std::begin(shared->evtchn_mask), std::end(shared->evtchn_mask), ~xen_ulong_t{0});
  const DomainConfig config{.offered_abi = abi, .vcpus = machine::kDom0VcpuCount, .shared_info = shared};
  TRY_VOID(channels.create_domain(kDom0, config));
  if (abi == Abi::kFifo) return set_up_fifo(machine);
  if (abi == Abi::kThreeLevel) return set_up_three_level(machine);
  return {};
}

XenStatus grow_dom0_array(machine::Machine& machine, Port port) {
  DomainChannels& domain = channels_of(kDom0);
  const uint32_t needed = port / kEventWordsPerPage + 1;
  // Bound: kMaxArrayPages, and mostly none.
  while (domain.array_pages.load(std::memory_order_acquire) < needed) {
    void* page = machine.frames().allocate_page();
    if (page == nullptr) return xen_fail(XenErrno::kNoMem);
    std::fill_n(static_cast<event_word_t*>(page), kEventWordsPerPage, kMaskedBit);
    // Another consumer may grow the array meanwhile, perhaps to its end.
    const XenStatus added = add_array_page(machine, kDom0, page);
    if (!added) machine.frames().free_page(page);
    if (!added && domain.array_pages.load() < needed) return added;
  }
  return {};
}

void restart_dom0_queues(machine::Machine& machine, VcpuId vcpu) {
  DomainChannels& domain = channels_of(kDom0);
  const uint32_t used = domain.used_ports.load(std::memory_order_acquire);
  if (const Abi abi = domain.abi.load(); abi != Abi::kFifo) {
    with_delivery_lock(machine, kDom0, vcpu, [&](VcpuChannels& channels) {
      if (abi == Abi::kThreeLevel) {
        select_all(channels, channels.selector.load());
      } else {
        BitmapWord(channels.info.load()->evtchn_pending_sel).store(~xen_ulong_t{0});
      }
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

std::unique_ptr<Dom0Side> make_dom0_side(machine::Machine& machine, VcpuId vcpu) {
  switch (channels_of(kDom0).abi.load()) {
    case Abi::kTwoLevel:
      return make_dom0_two_level(vcpu);
    case Abi::kThreeLevel:
      return make_dom0_three_level(vcpu);
    case Abi::kFifo:
      return make_dom0_fifo(machine, vcpu);
  }
  CHECK(false);
}

}  // namespace xenopolis::event
