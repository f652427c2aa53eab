// The PV console: a ring that polis-consoled, or any xenconsoled, reads (<xen/io/console.h>).
#pragma once

#include "runtime/domain.h"
#include "runtime/text.h"

namespace xenopolis::guest::console {

Port port();
xencons_interface& ring();

// Puts characters into the ring. When it is full, tells the backend and sleeps until there is room.
void write(Text text);
void write(char c);

// Tells the backend of what was written since the last time; flush_into() as part of a batch.
void flush();
void flush_into(Multicall& batch);

}  // namespace xenopolis::guest::console
