// The 2-level ABI: both bitmaps are in shared_info, the selector is one word of vcpu_info (<xen/xen.h>).
#pragma once

#include "event/bitmap_abi.h"

namespace xenopolis::event {

class TwoLevelAbi final : public BitmapAbi {
 public:
  uint32_t port_limit() const override { return kTwoLevelPorts; }
  BitmapWord pending_word(const DomainChannels& domain, Port port) const override {
    return BitmapWord(domain.shared->evtchn_pending[port / kBitsPerWord]);
  }
  BitmapWord mask_word(const DomainChannels& domain, Port port) const override {
    return BitmapWord(domain.shared->evtchn_mask[port / kBitsPerWord]);
  }

 protected:
  bool select(VcpuChannels& vcpu, Port port) const override;
};
inline constexpr TwoLevelAbi kTwoLevelAbi;

}  // namespace xenopolis::event
