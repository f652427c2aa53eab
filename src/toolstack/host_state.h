// What a host is, in its machine: what polisd decided when it made the machine, for the next polisd.
#pragma once

#include <cstdint>

#include "domain/domain_record.h"

namespace xenopolis::toolstack {

// Constant but for `polisd_starts`.
struct HostState {
  domain::Backend backend;
  char backend_why[256];  // for people, NUL-terminated
  uint32_t event_abi;     // event::Abi of Dom0
  int64_t started_s;      // of the calendar, UTC
  uint32_t polisd_starts;
};
static_assert(machine::kHostOffset + sizeof(HostState) <= machine::kDoorbellOffset);

inline HostState& host_state() {
  return machine::table_element<HostState, machine::kHostOffset, 4096>(0);
}

}  // namespace xenopolis::toolstack
