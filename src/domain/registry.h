// Domain records by state: which domids are taken, and names for people.
#pragma once

#include <string_view>

#include "base/result.h"
#include "domain/domain_record.h"

namespace xenopolis::domain {

// Takes record `domid`, kFree -> kBuilding, all other fields as new. Atomic: of several callers, in any processes, one
// gets it. EINVAL: no ordinary domid (1 .. kDomIdCount - 1); EEXIST: taken.
Result<DomainRecord*> claim_record(DomId domid);

// Gives the record back when nothing else refers to the domain any more.
void release_record(DomId domid);

inline State state_of(DomId domid) {
  return record_of(domid).state.load(std::memory_order_acquire);
}
// True for states in which the domain may be named by operations of others.
inline bool exists(DomId domid) {
  return domid < kDomIdCount && state_of(domid) != State::kFree;
}

std::string_view name_of(State state);
std::string_view name_of(Backend backend);
// "creating", "up" or "ending": what is between is polisd's own affair.
std::string_view name_of(Stage stage);
// SHUTDOWN_* of <xen/sched.h>: "poweroff", "reboot", "suspend", "crash", "watchdog", "soft_reset", else "unknown".
std::string_view name_of_shutdown(uint32_t reason);
std::string_view name_of_runstate(int runstate);

}  // namespace xenopolis::domain
