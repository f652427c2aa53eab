// Which elements of a table in the machine were ever used. To look at the others would take memory for them: reading a
// page of a memfd that was never written makes one.
#pragma once

#include <cstdint>
#include <vector>

#include "machine/machine.h"

namespace xenopolis::machine {

// Numbers below `count`, in order: those of the table at `offset` whose pages have been written to, elements `stride`
// bytes apart. O(pages written).
std::vector<uint32_t> touched(const Machine& machine, uint64_t offset, uint64_t stride, uint32_t count);

}  // namespace xenopolis::machine
