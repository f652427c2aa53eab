#include "event/fifo.h"

#include "base/fault_point.h"

namespace xenopolis::event {
namespace {

using WordRef = std::atomic_ref<event_word_t>;

// An honest guest changes a linked, busy word at most four times: it sets MASKED, clears PENDING, LINKED, and MASKED
// only once before it sees BUSY. A guest that changes it more often loses its own events.
constexpr unsigned kLinkTries = 5;

// Makes `port` the successor of `tail`, if `tail` is still linked. Clears BUSY.
bool link_after(const DomainChannels& domain, Port tail, Port port) {
  event_word_t* address = tail == port ? nullptr : event_word(domain, tail);
  if (address == nullptr) return false;
  WordRef word(*address);
  event_word_t value = word.load();
  for (unsigned tries = 0; tries < kLinkTries && (value & kLinkedBit) != 0; ++tries) {
    fault_point("FIFO: tail seen");
    if (word.compare_exchange_strong(value, (value & ~(kBusyBit | kLinkMask)) | port)) return true;
    // Contended: keep the guest from unmasking meanwhile.
    value = word.fetch_or(kBusyBit) | kBusyBit;
  }
  if ((value & kBusyBit) != 0) word.fetch_and(~kBusyBit);
  return false;
}

// Appends `port`, whose word is LINKED, to a queue. True: it became the head, and the guest must look at it.
bool append(const DomainChannels& domain, VcpuChannels& vcpu, evtchn_fifo_control_block& control, uint8_t priority,
            Port port) {
  const Port tail = vcpu.tails[priority].load(std::memory_order_relaxed);
  const bool linked = tail != 0 && link_after(domain, tail, port);
  if (!linked) WordRef(control.head[priority]).store(port);
  fault_point("FIFO: in the queue");
  vcpu.tails[priority].store(port, std::memory_order_release);
  fault_point("FIFO: tail");
  return !linked;
}

// A port that is about to be linked into another queue is not this one's head any more: a consumer that comes back for
// a READY too many must not find it linked, and take it out of the middle of the other.
void forget_head(VcpuChannels& vcpu, uint8_t priority, Port port) {
  evtchn_fifo_control_block* control = vcpu.control.load(std::memory_order_relaxed);
  if (control == nullptr) return;
  WordRef head(control->head[priority]);
  if (head.load() == port) head.store(0);
}

}  // namespace

Raised FifoAbi::set_pending(const Delivery& delivery) const {
  // Names of their own, not a structured binding: clang 14 does not let lambdas capture those.
  DomainChannels& domain = delivery.domain;
  PortSlot& slot = delivery.slot;
  const Port port = delivery.port;
  const VcpuId vcpu_id = delivery.vcpu;
  VcpuChannels& vcpu = domain.vcpus[vcpu_id];
  const PortWord own = slot.load();
  event_word_t* address = event_word(domain, port);
  Raised raised;
  if (address == nullptr) {
    raised.newly_pending = !own.saved_pending();
    slot.store(own.with_saved_pending(true));
    return raised;
  }
  WordRef word(*address);
  evtchn_fifo_control_block* control = vcpu.control.load(std::memory_order_relaxed);
  const uint8_t priority = own.priority();
  const auto prepare_to_link = [&] {
    // A port that is not linked and is some queue's tail: that queue is empty. It must forget this tail before the port
    // is linked again, lest the next event follow the port into another queue.
    std::atomic<Port>& last_tail = domain.vcpus[own.last_vcpu()].tails[own.last_priority()];
    if (last_tail.load(std::memory_order_relaxed) == port) last_tail.store(0, std::memory_order_release);
    vcpu.journal.store(JournalEntry{port, true, priority}.encode(), std::memory_order_release);
    const PortWord queued = own.with_saved_pending(false).with_last_queue(vcpu_id, priority);
    if (queued.last_vcpu() != own.last_vcpu() || queued.last_priority() != own.last_priority()) {
      forget_head(domain.vcpus[own.last_vcpu()], own.last_priority(), port);
    }
    if (queued.bits() != own.bits()) slot.store(queued);
    fault_point("FIFO: about to link");
  };
  // The guest must not unmask a port before its vCPU has a control block (Xen drops the event too).
  const auto to_be_linked = [control](event_word_t value) {
    return control != nullptr && (value & (kMaskedBit | kLinkedBit)) == 0;
  };

  // Mostly, in one step. If the guest changes the word at this moment, in two, whose first decides: the guest unmasks,
  // or unlinks, before it looks for PENDING, so when this finds the port masked or linked, the guest has yet to find
  // PENDING.
  event_word_t before = word.load();
  bool linked = false;
  if (to_be_linked(before)) {
    prepare_to_link();
    linked = word.compare_exchange_strong(before, before | kPendingBit | kLinkedBit);
  }
  if (!linked) {
    before = word.fetch_or(kPendingBit);
    fault_point("FIFO: pending");
    if (to_be_linked(before)) {
      prepare_to_link();
      word.fetch_or(kLinkedBit);
      linked = true;
    } else if (own.saved_pending()) {
      slot.store(slot.load().with_saved_pending(false));
    }
  }
  raised.newly_pending = (before & kPendingBit) == 0 && !own.saved_pending();
  fault_point("FIFO: linked bit");
  if (!linked) return raised;
  if (append(domain, vcpu, *control, priority, port)) {
    const uint32_t ready = 1u << priority;
    raised.upcall = (WordRef(control->ready).fetch_or(ready) & ready) == 0;
    fault_point("FIFO: ready");
  }
  return raised;
}

void FifoAbi::finish_linking(DomainChannels& domain, VcpuId vcpu_id, const JournalEntry& entry) const {
  VcpuChannels& vcpu = domain.vcpus[vcpu_id];
  evtchn_fifo_control_block* control = vcpu.control.load(std::memory_order_relaxed);
  event_word_t* address = event_word(domain, entry.port);
  if (control == nullptr || address == nullptr) return;
  const uint32_t ready = 1u << entry.priority;
  // The holder may have died with a BUSY tail.
  const Port tail = vcpu.tails[entry.priority].load(std::memory_order_relaxed);
  event_word_t* tail_address = tail == 0 ? nullptr : event_word(domain, tail);
  const event_word_t tail_word = tail_address == nullptr ? 0 : WordRef(*tail_address).fetch_and(~kBusyBit);

  // Not linked: the bit was not yet set, or the guest has taken the port off its queue, hence knew of it.
  if ((WordRef(*address).load() & kLinkedBit) == 0) return;
  if (tail == entry.port) {
    if (WordRef(control->head[entry.priority]).load() == entry.port) WordRef(control->ready).fetch_or(ready);
    return;
  }
  if ((tail_word & kLinkedBit) != 0 && (tail_word & kLinkMask) == entry.port) {
    vcpu.tails[entry.priority].store(entry.port, std::memory_order_release);
    return;
  }
  // The tail has no successor yet, or the guest has passed it and perhaps knows of the port. Naming the port as head
  // once more is harmless then: the guest finds it not linked and not pending.
  if (append(domain, vcpu, *control, entry.priority, entry.port)) WordRef(control->ready).fetch_or(ready);
}

void FifoAbi::clear_pending(DomainChannels& domain, Port port) const {
  // It stays in its queue: the guest unlinks it and ignores a port that is not pending.
  if (event_word_t* word = event_word(domain, port)) WordRef(*word).fetch_and(~kPendingBit);
}

void FifoAbi::clear_mask(DomainChannels& domain, Port port) const {
  if (event_word_t* word = event_word(domain, port)) WordRef(*word).fetch_and(~kMaskedBit);
}

bool FifoAbi::is_pending(const DomainChannels& domain, Port port) const {
  event_word_t* word = event_word(domain, port);
  if (word != nullptr && (WordRef(*word).load() & kPendingBit) != 0) return true;
  // Saved, although the page is there: expand_array has not come to it yet, or died.
  const PortSlot* slot = find_slot(domain, port);
  return slot != nullptr && slot->load().saved_pending();
}

bool FifoAbi::is_masked(const DomainChannels& domain, Port port) const {
  event_word_t* word = event_word(domain, port);
  return word == nullptr || (WordRef(*word).load() & kMaskedBit) != 0;
}

bool FifoAbi::is_busy(const DomainChannels& domain, Port port) const {
  event_word_t* word = event_word(domain, port);
  return word != nullptr && (WordRef(*word).load() & kLinkedBit) != 0;
}

}  // namespace xenopolis::event
