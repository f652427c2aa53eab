// A machine with Dom0 and a few guests for tests, and the guest's side of the ABIs in its plainest form.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <vector>

#include "event/consumer.h"
#include "event/fifo.h"
#include "event/port_table.h"
#include "event/three_level.h"
#include "event/two_level.h"
#include "machine/domain_memory.h"

namespace xenopolis::event {

inline constexpr uint64_t kRamPages = 200;
// FIFO: control blocks and event array; 3-level: selectors and bitmaps.
inline constexpr Gfn kControlGfn = 190, kFirstArrayGfn = 1, kFirstBitmapGfn = 150;

// For tests of every ABI: INSTANTIATE_TEST_SUITE_P(Abis, Suite, kEveryAbi, name_of_abi).
inline const auto kEveryAbi = testing::Values(Abi::kTwoLevel, Abi::kThreeLevel, Abi::kFifo);
inline std::string name_of_abi(const testing::TestParamInfo<Abi>& row) {
  return row.param == Abi::kFifo ? "Fifo" : row.param == Abi::kThreeLevel ? "ThreeLevel" : "TwoLevel";
}

// What a guest kernel does on one vCPU.
class GuestSide {
 public:
  GuestSide(EventChannels& channels, DomId domid, VcpuId vcpu = 0) : channels_(channels), domid_(domid), vcpu_(vcpu) {}

  bool upcall_pending() const { return std::atomic_ref(info()->evtchn_upcall_pending).load() != 0; }

  // Ports that were pending, in the order of the ABI, pending bits cleared.
  std::vector<Port> take() {
    std::atomic_ref(info()->evtchn_upcall_pending).exchange(0);
    switch (channels_.abi(domid_)) {
      case Abi::kFifo:
        return take_fifo();
      case Abi::kThreeLevel:
        return take_three_level();
      case Abi::kTwoLevel:
        break;
    }
    return take_two_level();
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
    BitmapWord word = bitmaps().mask_word(domain(), port);
    if (masked) {
      word.fetch_or(bit_of(port));
    } else {
      word.fetch_and(~bit_of(port));
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

  const BitmapAbi& bitmaps() const {
    if (channels_.abi(domid_) == Abi::kThreeLevel) return kThreeLevelAbi;
    return kTwoLevelAbi;
  }

  std::vector<Port> take_two_level() {
    std::vector<Port> taken;
    for (xen_ulong_t words = BitmapWord(info()->evtchn_pending_sel).exchange(0); words != 0; words &= words - 1) {
      take_word(static_cast<uint32_t>(std::countr_zero(words)), taken);
    }
    return taken;
  }

  std::vector<Port> take_three_level() {
    std::vector<Port> taken;
    xen_ulong_t* selector = domain().vcpus[vcpu_].selector.load();
    for (xen_ulong_t groups = BitmapWord(info()->evtchn_pending_sel).exchange(0); groups != 0; groups &= groups - 1) {
      const auto group = static_cast<uint32_t>(std::countr_zero(groups));
      for (xen_ulong_t words = BitmapWord(selector[group]).exchange(0); words != 0; words &= words - 1) {
        take_word(group * kBitsPerWord + static_cast<uint32_t>(std::countr_zero(words)), taken);
      }
    }
    return taken;
  }

  void take_word(uint32_t index, std::vector<Port>& taken) {
    const Port first = index * kBitsPerWord;
    BitmapWord pending = bitmaps().pending_word(domain(), first);
    for (xen_ulong_t bits = pending.load() & ~bitmaps().mask_word(domain(), first).load(); bits != 0;
         bits &= bits - 1) {
      const Port port = first + static_cast<Port>(std::countr_zero(bits));
      pending.fetch_and(~bit_of(port));
      taken.push_back(port);
    }
  }

  EventChannels& channels_;
  DomId domid_;
  VcpuId vcpu_;
  std::array<Port, kPriorities> heads_{};
};

class World {
 public:
  World() : machine(machine::Machine::create(40 * machine::kGiB).value()), channels(machine) {}

  // Domain `domid` with memory, speaking `abi`; FIFO with `array_pages` pages of event array, all unmasked.
  void add_guest(DomId domid, Abi abi, DomainConfig config = {}, unsigned array_pages = 1) {
    machine::DomainMemory& memory = machine::memory_of(domid);
    memory.extent = machine.frames().allocate_extent(kRamPages + 1).value();
    memory.ram_pages = kRamPages;
    config.offered_abi = abi;
    config.shared_info = memory.page(kRamPages);
    ASSERT_TRUE(channels.create_domain(domid, config));
    register_abi(domid, abi, config.vcpus, array_pages);
  }

  // From 2-level to `abi`.
  void register_abi(DomId domid, Abi abi, uint32_t vcpus, unsigned array_pages = 1) {
    if (abi == Abi::kThreeLevel) register_three_level(domid, vcpus);
    if (abi != Abi::kFifo) return;
    uint8_t link_bits = 0;
    for (VcpuId vcpu = 0; vcpu < vcpus; ++vcpu) {
      ASSERT_TRUE(channels.init_control(domid, vcpu, kControlGfn, vcpu * 128, link_bits));
    }
    for (unsigned page = 0; page < array_pages; ++page) {
      ASSERT_TRUE(channels.expand_array(domid, kFirstArrayGfn + page));
    }
  }

  // With empty bitmaps.
  void register_three_level(DomId domid, uint32_t vcpus) {
    Gfn pending[kBitmapFrames], mask[kBitmapFrames];
    for (uint32_t index = 0; index < kBitmapFrames; ++index) {
      pending[index] = kFirstBitmapGfn + index;
      mask[index] = kFirstBitmapGfn + kBitmapFrames + index;
    }
    ASSERT_TRUE(channels.register_bitmaps(domid, pending, mask));
    for (VcpuId vcpu = 0; vcpu < vcpus; ++vcpu) {
      ASSERT_TRUE(channels.register_selector(domid, vcpu, kControlGfn, vcpu * 512));
      // Registration makes the vCPU look; tests begin quietly.
      GuestSide(channels, domid, vcpu).take();
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

}  // namespace xenopolis::event
