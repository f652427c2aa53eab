#include "event/two_level.h"

#include "base/fault_point.h"

namespace xenopolis::event {

bool TwoLevelAbi::select(VcpuChannels& vcpu, Port port) const {
  const xen_ulong_t bit = bit_of(port / kBitsPerWord);
  // A bit that is set already has had its upcall, or the guest is about to take it.
  const bool selected = (BitmapWord(vcpu.info.load()->evtchn_pending_sel).fetch_or(bit) & bit) == 0;
  fault_point("2-level: selected");
  return selected;
}

}  // namespace xenopolis::event
