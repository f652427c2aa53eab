// The domains that exist, of all 32,751 that might, without a look at the others: it would take memory for them.
#pragma once

#include <vector>

#include "domain/registry.h"
#include "machine/touched.h"

namespace xenopolis::domain {

// In order.
inline std::vector<DomId> existing_domains(const machine::Machine& machine) {
  std::vector<DomId> domids;
  for (const uint32_t domid :
       machine::touched(machine, machine::kDomainRecordOffset, machine::kDomainRecordStride, kDomIdCount)) {
    if (domid != kDom0 && exists(static_cast<DomId>(domid))) domids.push_back(static_cast<DomId>(domid));
  }
  return domids;
}

}  // namespace xenopolis::domain
