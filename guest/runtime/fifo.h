// The consumer's side of the FIFO event ABI (Xen's "FIFO-based Event Channel ABI" design, draft F;
// <xen/event_channel.h>).
#pragma once

#include "runtime/domain.h"

namespace xenopolis::guest::fifo {

// 4 pages of 1,024 event words: more ports than a guest of ours binds. A page that is not used is never touched.
inline constexpr unsigned kWordsPerPage = kPageSize / sizeof(event_word_t);
inline constexpr unsigned kMostPages = 4;

void prepare(Multicall& batch);
// Whether the hypervisor accepted the ABI.
bool finish(const Multicall& batch);

long cover(Port port);
Port take();
volatile event_word_t& word(Port port);
volatile evtchn_fifo_control_block_t& control_block();
void mask(Port port);
// Whether an event waits behind the mask: then EVTCHNOP_unmask has to do it.
bool unmask(Port port);

}  // namespace xenopolis::guest::fifo
