// What a polisd that was killed has lost of the machine's memory: taken from one who had it, and not given to the next.
#pragma once

#include "machine/machine.h"

namespace xenopolis::toolstack {

// Makes free what is neither free nor in a domain's record, and says how much that was, in bytes. For a polisd that has
// just been started, before it does anything about domains: nobody else gives memory to them, or takes it.
uint64_t reclaim_lost_memory(machine::Machine& machine);

}  // namespace xenopolis::toolstack
