#include <bit>

#include "event/dom0_side.h"
#include "base/fault_point.h"
#include "event/fifo.h"
#include "event/setup.h"

namespace xenopolis::event {
namespace {

using WordRef = std::atomic_ref<event_word_t>;

class Dom0Fifo final : public Dom0Side {
 public:
  Dom0Fifo(machine::Machine& machine, VcpuId vcpu)
      : machine_(machine), domain_(channels_of(kDom0)), control_(*domain_.vcpus[vcpu].control.load()) {}

  XenStatus add(Port port) override { return grow_dom0_array(machine_, port); }
  void mask(Port port) override {
    if (event_word_t* word = event_word(domain_, port)) WordRef(*word).fetch_or(kMaskedBit);
  }

  bool is_masked(Port port) const override {
    event_word_t* word = event_word(domain_, port);
    return word == nullptr || (WordRef(*word).load() & kMaskedBit) != 0;
  }

  bool unmask(Port port) override {
    event_word_t* address = event_word(domain_, port);
    if (address == nullptr) return false;
    WordRef word(*address);
    event_word_t value = word.load();
    // Bound: the hypervisor changes a word a few times at most while it links; BUSY goes to the hypervisor, which waits
    // for its own lock, not for a bit that a dead sender may have left.
    do {
      if ((value & kBusyBit) != 0) return true;
    } while (!word.compare_exchange_weak(value, value & ~kMaskedBit));
    return (word.load() & kPendingBit) != 0;
  }

  bool has_urgent() const override {
    return (WordRef(control_.ready).load(std::memory_order_relaxed) & ((1u << EVTCHN_FIFO_PRIORITY_DEFAULT) - 1)) != 0;
  }

  uint32_t drain(const Consumer::Handler& handler, uint32_t budget, bool& more) override {
    uint32_t served = 0;
    take_ready();
    while (ready_ != 0 && served < budget) {
      served += consume_one(static_cast<unsigned>(std::countr_zero(ready_)), handler);
      take_ready();  // a higher priority may have come
    }
    more = ready_ != 0;
    return served;
  }

 private:
  void take_ready() {
    WordRef ready(control_.ready);
    if (ready.load() != 0) ready_ |= ready.exchange(0) & ((1u << kPriorities) - 1);
  }

  // The head of a queue: 1 when it was pending and has been served, else 0.
  uint32_t consume_one(unsigned priority, const Consumer::Handler& handler) {
    Port port = heads_[priority];
    // At the end of what was known: the queue goes on at the head in the control block.
    if (port == 0) port = current_head(priority);
    event_word_t* address = port == 0 ? nullptr : event_word(domain_, port);
    if (address == nullptr) {
      ready_ &= ~(1u << priority);
      return 0;
    }
    WordRef word(*address);
    event_word_t value = word.load();
    bool serve = false;
    // Unlinking and taking the event at once: what comes from now on links the port anew.
    // Bound: the hypervisor changes the word a few times at most while it is linked.
    do {
      serve = (value & kPendingBit) != 0 && (value & kMaskedBit) == 0;
    } while (!word.compare_exchange_weak(value, value & ~(kLinkedBit | kLinkMask | (serve ? kPendingBit : 0))));
    heads_[priority] = value & kLinkMask;
    if (heads_[priority] == 0) ready_ &= ~(1u << priority);
    if (serve) handler(port);
    return serve ? 1 : 0;
  }

  // The head in the control block, or 0 when it is none (any more). READY alone does not say that there is one: the
  // repair after a sender's death may set it once too often.
  // 1. READY is set twice for X; the consumer takes it once, and serves X. 2. It takes READY again, and reads the head:
  // X.
  // 3. V is sent and becomes the head, X is sent and linked behind V. 4. If the consumer unlinked X now, V would be
  // lost as soon as X is sent again: the tail X is not linked, so the queue seems empty, and X becomes the head. So: X
  // is not linked in 2, or the head is no longer X after it was seen to be linked; who changed it sets READY after
  // that.
  Port current_head(unsigned priority) const {
    WordRef head(control_.head[priority]);
    const Port port = head.load();
    fault_point("consumer: head");
    event_word_t* address = port == 0 ? nullptr : event_word(domain_, port);
    if (address == nullptr || (WordRef(*address).load() & kLinkedBit) == 0 || head.load() != port) return 0;
    return port;
  }

  machine::Machine& machine_;
  DomainChannels& domain_;
  evtchn_fifo_control_block& control_;
  uint32_t ready_ = 0;  // priorities with something left
  std::array<Port, kPriorities> heads_{};
};

}  // namespace

std::unique_ptr<Dom0Side> make_dom0_fifo(machine::Machine& machine, VcpuId vcpu) {
  return std::make_unique<Dom0Fifo>(machine, vcpu);
}

}  // namespace xenopolis::event
