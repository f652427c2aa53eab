// Which frames of its RAM a domain has given back: decrease_reservation and populate_physmap (<xen/memory.h>).
#pragma once

#include <cstdint>
#include <vector>

#include "xen_abi/xen.h"

namespace xenopolis::domain {

// Frames keep their numbers: a frame that was given back can be had again, as itself only, and reads as zero then.
// Takes one bit per frame of RAM, from the first frame given back.
class Reservation {
 public:
  // All or nothing. False: some frame of the run is no RAM (`ram_pages`) or already given back.
  bool give_back(Gfn first, uint64_t count, uint64_t ram_pages);
  // All or nothing. False: some frame of the run is no RAM or was not given back.
  bool take_again(Gfn first, uint64_t count, uint64_t ram_pages);

  uint64_t given_back() const { return given_back_; }

 private:
  bool all_are(bool given_back, Gfn first, uint64_t count) const;
  void set(bool given_back, Gfn first, uint64_t count);

  std::vector<bool> frames_;  // true: given back
  uint64_t given_back_ = 0;
};

}  // namespace xenopolis::domain
