// Plays bytes, as a fuzzer makes them, as a session of writers, readers and deaths at one history, and holds what is
// read against a naive model: a string for each stream.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace xenopolis::console {

struct HistoryCounts {
  unsigned appends = 0;
  unsigned pieces = 0;
  unsigned misses = 0;  // times that a reader came too late
  unsigned evicted_by_others = 0;
  unsigned deaths = 0;
  unsigned forgotten = 0;
};

// Empty when all was as predicted, else what was not.
std::string play_history(std::span<const uint8_t> bytes, HistoryCounts& counts);

}  // namespace xenopolis::console
