#include "event/three_level.h"

#include "base/fault_point.h"

namespace xenopolis::event {
namespace {

BitmapWord word_of_bitmap(const DomainChannels& domain, uint32_t first_frame, Port port) {
  constexpr uint32_t kPortsPerFrame = kPageSize * 8;
  const uint32_t frame = domain.array[first_frame + port / kPortsPerFrame].load(std::memory_order_relaxed);
  auto* words = reinterpret_cast<xen_ulong_t*>(machine::address_of(frame));
  return BitmapWord(words[port % kPortsPerFrame / kBitsPerWord]);
}

}  // namespace

BitmapWord ThreeLevelAbi::pending_word(const DomainChannels& domain, Port port) const {
  return word_of_bitmap(domain, 0, port);
}

BitmapWord ThreeLevelAbi::mask_word(const DomainChannels& domain, Port port) const {
  return word_of_bitmap(domain, kBitmapFrames, port);
}

bool ThreeLevelAbi::select(VcpuChannels& vcpu, Port port) const {
  xen_ulong_t* selector = vcpu.selector.load(std::memory_order_relaxed);
  // A vCPU that has none yet looks at everything when it gets one.
  if (selector == nullptr) return false;
  const uint32_t word = port / kBitsPerWord;
  BitmapWord(selector[word / kBitsPerWord]).fetch_or(bit_of(word));
  fault_point("3-level: second level");
  // Whether or not the second level was set before: then whoever set it may have died before this.
  BitmapWord first_level(vcpu.info.load()->evtchn_pending_sel);
  const xen_ulong_t bit = bit_of(word / kBitsPerWord);
  // A guest takes its first level before its second: if the bit is set, the guest has yet to come to the second level.
  const bool selected = (first_level.load() & bit) == 0 && (first_level.fetch_or(bit) & bit) == 0;
  fault_point("3-level: first level");
  return selected;
}

void select_all(VcpuChannels& vcpu, xen_ulong_t* selector) {
  for (uint32_t word = 0; word < kSelectorWords; ++word) BitmapWord(selector[word]).store(~xen_ulong_t{0});
  BitmapWord(vcpu.info.load()->evtchn_pending_sel).store(~xen_ulong_t{0});
}

}  // namespace xenopolis::event
