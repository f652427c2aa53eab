// The consumer's side of the FIFO event ABI (Xen's "FIFO-based Event Channel ABI" design, draft F;
// <xen/event_channel.h>).
#pragma once

#include "runtime/domain.h"

namespace xenopolis::guest::fifo {

// The first page of event words is in the image, the others are spare pages of the domain.
inline constexpr unsigned kWordsPerPage = kPageSize / sizeof(event_word_t);
inline constexpr unsigned kMostPages = 16;

// With the first page, or none: init_control alone.
void prepare(Multicall& batch, bool with_page = true);
// Whether the hypervisor accepted the ABI.
bool finish(const Multicall& batch);
// After EVTCHNOP_reset: the hypervisor knows neither control block nor pages any more. Empties them.
void forget();

// Adds pages until there is one with the port's word. -ENOSPC beyond kMostPages.
long cover(Port port);
unsigned pages_in_use();
// What words begin with in pages that are added from now on; 0 unless a test wants them MASKED.
void set_first_word(event_word_t value);
Port take();
// A port without a page yields port 0's word, which nobody uses.
volatile event_word_t& word(Port port);
volatile evtchn_fifo_control_block_t& control_block();
void mask(Port port);
// Whether an event waits behind the mask: then EVTCHNOP_unmask has to do it.
bool unmask(Port port);

}  // namespace xenopolis::guest::fifo
