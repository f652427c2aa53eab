// How far a ring has come, as the journal keeps it: what a daemon that takes over from a dead one needs to go on at the
// very byte.
//
// The indices that the guest sees move only after the journal's word for the domain has: requests in its upper half,
// responses in its lower one. A record is written first when the daemon keeps bytes of the ring to itself: of a request
// that has not come completely, or of replies for which there was no room. The word says more than the record once it
// is ahead of it; then there are no such bytes any more.
//
//   guest's ring   requests ----> input ----> handled: the journal has what it changed, together with the reply
//                  responses <--- output <--- replies and events
//
// Events that had no room are not kept: a daemon that takes over fires every watch once (events may come without
// cause).
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <string_view>

#include "xenstore/record.h"

namespace xenopolis::xenstore {

struct RingProgress {
  uint32_t requests = 0;   // index up to which the guest's bytes have been taken
  uint32_t responses = 0;  // index up to which bytes have been given
  bool is_closed = false;  // the guest broke the rules
  uint32_t cut = 0;        // so many bytes at the beginning of `output` are the rest of a message
  std::string input;
  std::string output;

  std::string encode() const;
  static std::optional<RingProgress> decode(std::string_view payload);

  static RingProgress at(uint64_t word) {
    return {static_cast<uint32_t>(word >> 32), static_cast<uint32_t>(word), false, 0, {}, {}};
  }
  uint64_t word() const { return uint64_t{requests} << 32 | responses; }
  // Where the ring stands when the journal has this record and `word`.
  RingProgress brought_up_to(uint64_t word) const;
};

}  // namespace xenopolis::xenstore
