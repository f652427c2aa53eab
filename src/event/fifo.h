// The FIFO ABI: one 32-bit word per port in an event array that grows by pages, and per vCPU 16 queues, linked through
// the words, whose heads are in the vCPU's control block (<xen/event_channel.h>; Xen's docs, "Event Channel FIFO ABI").
#pragma once

#include "event/event_abi.h"

namespace xenopolis::event {

inline constexpr event_word_t kPendingBit = 1u << EVTCHN_FIFO_PENDING;
inline constexpr event_word_t kMaskedBit = 1u << EVTCHN_FIFO_MASKED;
inline constexpr event_word_t kLinkedBit = 1u << EVTCHN_FIFO_LINKED;
inline constexpr event_word_t kBusyBit = 1u << EVTCHN_FIFO_BUSY;
inline constexpr event_word_t kLinkMask = EVTCHN_FIFO_LINK_MASK;

// `port`'s word in the guest's event array, or nullptr while its page is missing.
inline event_word_t* event_word(const DomainChannels& domain, Port port) {
  const uint32_t page = port / kEventWordsPerPage;
  if (page >= domain.array_pages.load(std::memory_order_acquire)) return nullptr;
  const uint32_t frame = domain.array[page].load(std::memory_order_relaxed);
  return reinterpret_cast<event_word_t*>(machine::address_of(frame)) + port % kEventWordsPerPage;
}

class FifoAbi final : public EventAbi {
 public:
  uint32_t port_limit() const override { return kFifoPorts; }
  // The queue that the port was on last may have it as its tail.
  VcpuId other_vcpu(PortWord word) const override { return word.last_vcpu(); }
  Raised set_pending(const Delivery& delivery) const override;
  void finish_linking(DomainChannels& domain, VcpuId vcpu, const JournalEntry& entry) const override;
  void clear_pending(DomainChannels& domain, Port port) const override;
  void clear_mask(DomainChannels& domain, Port port) const override;
  bool is_pending(const DomainChannels& domain, Port port) const override;
  bool is_masked(const DomainChannels& domain, Port port) const override;
  bool is_busy(const DomainChannels& domain, Port port) const override;
};
inline constexpr FifoAbi kFifoAbi;

}  // namespace xenopolis::event
