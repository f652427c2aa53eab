// The consumer's side of the 2-level event ABI: bitmaps in shared_info, a selector word in vcpu_info (<xen/xen.h>).
#pragma once

#include "runtime/domain.h"

namespace xenopolis::guest::two_level {

void start();
Port take();
void clear(Port port);
bool pending(Port port);
void mask(Port port);
// Whether an event waits behind the mask: then EVTCHNOP_unmask has to do it.
bool unmask(Port port);

}  // namespace xenopolis::guest::two_level
