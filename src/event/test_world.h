// A machine with Dom0 and a few guests for tests, and the guest's side of both ABIs in its plainest form.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <vector>

#include "event/consumer.h"
#include "event/fifo.h"
#include "event/port_table.h"
#include "machine/domain_memory.h"

namespace xenopolis::event {

inline constexpr uint64_t kRamPages = 200;
inline constexpr Gfn kControlGfn = 190, kFirstArrayGfn = 1;

class World {
 public:
  World() : machine(machine::Machine::create(40 * machine::kGiB).value()), channels(machine) {}

  // Domain `domid` with memory, speaking `abi`; FIFO with `array_pages` pages of event array, all unmasked.
  void add_guest(DomId domid, Abi abi, DomainConfig config = {}, unsigned array_pages = 1) {
    machine::DomainMemory& memory = machine::memory_of(domid);
    memory.extent = machine.frames().allocate_extent(kRamPages + 1).value();
    memory.ram_pages = kRamPages;
    config.max_abi = abi;
    config.shared_info = memory.page(kRamPages);
    ASSERT_TRUE(channels.create_domain(domid, config));
    if (abi == Abi::kTwoLevel) return;
    uint8_t link_bits = 0;
    for (VcpuId vcpu = 0; vcpu < config.vcpus; ++vcpu) {
      ASSERT_TRUE(channels.init_control(domid, vcpu, kControlGfn, vcpu * 128, link_bits));
    }
    for (unsigned page = 0; page < array_pages; ++page) {
      ASSERT_TRUE(channels.expand_array(domid, kFirstArrayGfn + page));
    }
  }

  // Port of `a` and port of `b`, connected; the event that binding leaves pending at `a` is consumed.
  std::pair<Port, Port> connect(DomId a, DomId b) {
    const Port theirs = channels.alloc_unbound(b, b, a).value();
    const Port ours = channels.bind_interdomain(a, b, theirs).value();
    return {ours, theirs};
  }

  machine::Machine machine;
  EventChannels channels;
};

// What a guest kernel does on one vCPU.
class GuestSide {
 public:
  GuestSide(EventChannels& channels, DomId domid, VcpuId vcpu = 0) : channels_(channels), domid_(domid), vcpu_(vcpu) {}

  bool upcall_pending() const { return std::atomic_ref(info()->evtchn_upcall_pending).load() != 0; }

  // Ports that were pending, in the order of the ABI, pending bits cleared.
  std::vector<Port> take() {
    std::atomic_ref(info()->evtchn_upcall_pending).exchange(0);
    return channels_.abi(domid_) == Abi::kFifo ? take_fifo() : take_two_level();
  }

  void set_mask(Port port, bool masked) {
    if (channels_.abi(domid_) == Abi::kFifo) {
      auto word = word_of(port);
      if (masked) {
        word.fetch_or(kMaskedBit);
      } else {
        word.fetch_and(~kMaskedBit);
      }
      return;
    }
    std::atomic_ref word(domain().shared->evtchn_mask[port / 64]);
    if (masked) {
      word.fetch_or(1ul << port % 64);
    } else {
      word.fetch_and(~(1ul << port % 64));
    }
  }

  std::atomic_ref<event_word_t> word_of(Port port) {
    return std::atomic_ref(*const_cast<event_word_t*>(event_word(domain(), port)));
  }
  evtchn_fifo_control_block& control() { return *domain().vcpus[vcpu_].control.load(); }
  vcpu_info* info() const { return channels_.info_of(domid_, vcpu_); }

  std::vector<Port> take_fifo() {
    std::vector<Port> taken;
    uint32_t ready = std::atomic_ref(control().ready).exchange(0) & 0xffff;
    // Bound, because some tests write garbage into the words.
    for (unsigned steps = 0; ready != 0 && steps < 1'000'000; ++steps) {
      const auto queue = static_cast<unsigned>(std::countr_zero(ready));
      Port port = heads_[queue];
      if (port == 0) port = std::atomic_ref(control().head[queue]).load();
      if (port == 0 || event_word(domain(), port) == nullptr) {
        ready &= ~(1u << queue);
        continue;
      }
      auto word = word_of(port);
      event_word_t value = word.load();
      while (!word.compare_exchange_weak(value, value & ~(kLinkedBit | kLinkMask))) {
      }
      heads_[queue] = value & kLinkMask;
      if (heads_[queue] == 0) ready &= ~(1u << queue);
      value = word.load();
      if ((value & kPendingBit) != 0 && (value & kMaskedBit) == 0) {
        word.fetch_and(~kPendingBit);
        taken.push_back(port);
      }
      ready |= std::atomic_ref(control().ready).exchange(0) & 0xffff;
    }
    return taken;
  }

 private:
  DomainChannels& domain() const { return channels_of(domid_); }

  std::vector<Port> take_two_level() {
    std::vector<Port> taken;
    shared_info& shared = *domain().shared;
    xen_ulong_t selector = std::atomic_ref(info()->evtchn_pending_sel).exchange(0);
    for (; selector != 0; selector &= selector - 1) {
      const auto index = static_cast<unsigned>(std::countr_zero(selector));
      std::atomic_ref pending(shared.evtchn_pending[index]);
      xen_ulong_t bits = pending.load() & ~std::atomic_ref(shared.evtchn_mask[index]).load();
      for (; bits != 0; bits &= bits - 1) {
        const auto bit = static_cast<unsigned>(std::countr_zero(bits));
        pending.fetch_and(~(1ul << bit));
        taken.push_back(index * 64 + bit);
      }
    }
    return taken;
  }

  EventChannels& channels_;
  DomId domid_;
  VcpuId vcpu_;
  std::array<Port, kPriorities> heads_{};
};

}  // namespace xenopolis::event
