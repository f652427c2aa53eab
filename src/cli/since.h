// Times as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace xenopolis::cli {

// "90s", "10m", "2h", "3d": so long before `now_ms`; "02:10", "02:10:03": today; "2026-11-23", "2026-11-23 02:10",
// "2026-11-23T02:10:03.123": local time, or with Z at the end UTC. Milliseconds since 1970. An error says what is
// possible.
Result<uint64_t> parse_since(const std::string& text, uint64_t now_ms);

// The time at the beginning of a log's line, "[2026-11-23 02:10:03.123] ", and how long that is. EINVAL: there is none.
struct Stamp {
  uint64_t time_ms;
  size_t bytes;
};
Result<Stamp> parse_stamp(std::string_view line);

// "2026-11-23 02:10:03.123", local time.
std::string to_local_time(uint64_t time_ms);

uint64_t now_ms();

}  // namespace xenopolis::cli
