// The backend's end of a console ring (<xen/io/console.h>): what the guest writes.
#pragma once

#include <cstdint>
#include <span>

#include "xen_abi/xen.h"

namespace xenopolis::console {

struct Taken {
  uint32_t bytes = 0;
  // The guest's index claimed more than a ring holds. What it meant is unknown: all of it was dropped.
  bool invalid_index = false;
};

// The page is the guest's, who may write anything into it at any time. out_prod is read once per look; out_cons, which
// is ours, is never read back. So a guest spoils its own output at most.
class OutputRing {
 public:
  // Begins where a previous backend has stopped. The page must stay mapped.
  explicit OutputRing(xencons_interface& page);

  // Moves up to buffer.size() bytes out of the ring and frees their place.
  Taken take(std::span<char> buffer);

 private:
  void free_up_to(XENCONS_RING_IDX index);

  xencons_interface* page_;
  XENCONS_RING_IDX consumed_;
};

}  // namespace xenopolis::console
