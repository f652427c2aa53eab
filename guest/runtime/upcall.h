// Events as interrupts: the registered callback, for guests that do not poll. It needs vcpu_info at its place in the
// image (Domain::vcpu_info_moved).
#pragma once

#include "runtime/events.h"

namespace xenopolis::guest::upcall {

// Called with upcalls masked, for each pending port.
using Handler = void (*)(Port);

// Registers the callback; upcalls stay masked. -errno, -ENOSYS without a vcpu_info of our own.
long start(Handler handler);

// Unmasks. Events that wait are handled before it returns.
void enable();
void disable();

// Unmasks, sleeps until an event has been handled, and returns with upcalls unmasked.
void block();

// How many upcalls were dispatched, and how many of them had come just before the return from another one.
uint64_t count();
uint64_t hits_in_window();

}  // namespace xenopolis::guest::upcall
