// The 3-level ABI: bitmaps of 262,144 bits in frames of the guest's, a second-level selector per vCPU, and vcpu_info's
// word above it (xen_abi/event_channel_3level.h).
#pragma once

#include "event/bitmap_abi.h"

namespace xenopolis::event {

inline constexpr uint32_t kBitmapFrames = EVTCHN_3L_BITMAP_FRAMES;
inline constexpr uint32_t kSelectorWords = EVTCHN_3L_SELECTOR_WORDS;
static_assert(kBitmapFrames * kPageSize * 8 == kThreeLevelPorts && 2 * kBitmapFrames <= kMaxArrayPages);
static_assert(kSelectorWords * kBitsPerWord * kBitsPerWord == kThreeLevelPorts);

class ThreeLevelAbi final : public BitmapAbi {
 public:
  uint32_t port_limit() const override { return kThreeLevelPorts; }
  BitmapWord pending_word(const DomainChannels& domain, Port port) const override;
  BitmapWord mask_word(const DomainChannels& domain, Port port) const override;

 protected:
  bool select(VcpuChannels& vcpu, Port port) const override;
};
inline constexpr ThreeLevelAbi kThreeLevelAbi;

// Makes the vCPU look at every word, with its delivery lock held. `selector`: its second level.
void select_all(VcpuChannels& vcpu, xen_ulong_t* selector);

}  // namespace xenopolis::event
