// Plays bytes, as a fuzzer makes them, as a session of Dom0's clients and guests on rings, and holds what the daemon
// answers against the model.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace xenopolis::xenstore::model {

struct SessionCounts {
  unsigned requests = 0;
  unsigned errors = 0;
  unsigned events = 0;
  unsigned commits = 0;
  unsigned conflicts = 0;
  unsigned releases = 0;
  unsigned waits = 0;  // for somebody's turn
};

// Empty when all was as predicted, else what was not.
std::string play_session(std::span<const uint8_t> bytes, SessionCounts& counts);

}  // namespace xenopolis::xenstore::model
