// What 2-level and 3-level have in common: a pending and a mask bitmap for the domain, and per vCPU a selector that
// says in which words of them to look.
#pragma once

#include "event/event_abi.h"

namespace xenopolis::event {

inline constexpr uint32_t kBitsPerWord = sizeof(xen_ulong_t) * 8;
static_assert(kBitsPerWord == 64);

// The bit of number `index` in the word that holds it.
inline constexpr xen_ulong_t bit_of(uint32_t index) {
  return xen_ulong_t{1} << (index % kBitsPerWord);
}

using BitmapWord = std::atomic_ref<xen_ulong_t>;

class BitmapAbi : public EventAbi {
 public:
  VcpuId other_vcpu(PortWord word) const override { return word.vcpu(); }
  Raised set_pending(const Delivery& delivery) const override;
  // Every bit may be set once more.
  void finish_linking(DomainChannels&, VcpuId, const JournalEntry&) const override {}
  void clear_pending(DomainChannels& domain, Port port) const override;
  void clear_mask(DomainChannels& domain, Port port) const override;
  bool is_pending(const DomainChannels& domain, Port port) const override;
  bool is_masked(const DomainChannels& domain, Port port) const override;
  bool is_busy(const DomainChannels&, Port) const override { return false; }

  // The words with the port's bit; `port` < port_limit().
  virtual BitmapWord pending_word(const DomainChannels& domain, Port port) const = 0;
  virtual BitmapWord mask_word(const DomainChannels& domain, Port port) const = 0;

 protected:
  ~BitmapAbi() = default;
  // Sets the selector bits of `port`, from the bitmap towards the upcall. True: the guest must be told.
  virtual bool select(VcpuChannels& vcpu, Port port) const = 0;
};

}  // namespace xenopolis::event
