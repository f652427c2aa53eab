// Plays bytes, as a fuzzer makes them, as a session of guests, honest and hostile, with their consoles, of those who
// look at them and type, and of daemons that are killed; and holds what everybody reads against what was written.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace xenopolis::console {

struct SessionCounts {
  unsigned turns = 0;
  unsigned deaths = 0;
  unsigned reboots = 0;
  unsigned wild = 0;
  uint64_t output_bytes = 0;
  uint64_t input_bytes = 0;
  uint64_t missed_bytes = 0;
};

// Empty when all was as predicted, else what was not.
std::string play_session(std::span<const uint8_t> bytes, SessionCounts& counts);

}  // namespace xenopolis::console
