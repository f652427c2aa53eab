#include "runtime/fifo.h"

#include "runtime/atomic.h"

namespace xenopolis::guest::fifo {
namespace {

alignas(kPageSize) [[gnu::section(".bss..pages")]] volatile event_word_t first_page[kWordsPerPage];

// A power of two above its size, so that it crosses no page.
alignas(128) volatile evtchn_fifo_control_block_t control;
static_assert(sizeof(evtchn_fifo_control_block_t) <= 128);

unsigned pages;  // that the hypervisor knows
event_word_t first_word;
uint32_t ready;                      // queues that were announced and not yet emptied; bit = priority
Port heads[EVTCHN_FIFO_MAX_QUEUES];  // where a queue is continued; 0: at the control block's head

evtchn_init_control_t init_call;
evtchn_expand_array_t expand_call;
unsigned init_index, expand_index;
bool expanding;

constexpr event_word_t kPending = 1u << EVTCHN_FIFO_PENDING;
constexpr event_word_t kMasked = 1u << EVTCHN_FIFO_MASKED;
constexpr event_word_t kLinked = 1u << EVTCHN_FIFO_LINKED;
constexpr event_word_t kBusy = 1u << EVTCHN_FIFO_BUSY;

volatile event_word_t* page(unsigned index) {
  return index == 0 ? first_page : static_cast<volatile event_word_t*>(domain::spare_page(index - 1));
}

void fill(unsigned index, event_word_t value) {
  for (unsigned i = 0; i < kWordsPerPage; ++i) page(index)[i] = value;
}

// Takes the port off its queue: LINKED and LINK go in one step, so that the hypervisor either sees it linked and
// appends behind it, or sees it unlinked and links it anew. Answers the next port of the queue, 0 at its end.
Port unlink(Port port) {
  volatile event_word_t& shared = word(port);
  event_word_t old = load(shared);
  // The hypervisor changes the word a bounded number of times: link, pending and mask of one port.
  while ((old & kLinked) != 0) {
    if (compare_exchange(shared, old, old & ~(kLinked | EVTCHN_FIFO_LINK_MASK))) return old & EVTCHN_FIFO_LINK_MASK;
  }
  return 0;
}

}  // namespace

void prepare(Multicall& batch, bool with_page) {
  init_call.control_gfn = domain::gfn_of(const_cast<evtchn_fifo_control_block_t*>(&control));
  init_call.offset = reinterpret_cast<uintptr_t>(&control) & (kPageSize - 1);
  init_call.vcpu = 0;
  init_index = batch.add(__HYPERVISOR_event_channel_op, EVTCHNOP_init_control, &init_call);
  expanding = with_page;
  if (!with_page) return;
  expand_call.array_gfn = domain::gfn_of(const_cast<event_word_t*>(first_page));
  expand_index = batch.add(__HYPERVISOR_event_channel_op, EVTCHNOP_expand_array, &expand_call);
}

bool finish(const Multicall& batch) {
  if (batch.result(init_index) != 0) return false;
  pages = expanding && batch.result(expand_index) == 0 ? 1 : 0;
  return true;
}

void forget() {
  control.ready = 0;
  for (auto& head : control.head) head = 0;
  for (Port& head : heads) head = 0;
  ready = 0;
  for (; pages > 0; --pages) fill(pages - 1, 0);
}

long cover(Port port) {
  while (port / kWordsPerPage >= pages) {
    if (pages == kMostPages || page(pages) == nullptr) return -XEN_ENOSPC;
    // A fresh page is empty, and need not be touched for that.
    if (first_word != 0) fill(pages, first_word);
    evtchn_expand_array_t call{.array_gfn = domain::gfn_of(const_cast<event_word_t*>(page(pages)))};
    ++pages;  // before: the hypercall may end in an upcall
    long answer = event_channel_op(EVTCHNOP_expand_array, &call);
    if (answer == 0) continue;
    --pages;
    return answer;
  }
  return 0;
}

unsigned pages_in_use() {
  return pages;
}

void set_first_word(event_word_t value) {
  first_word = value;
}

volatile event_word_t& word(Port port) {
  unsigned index = port / kWordsPerPage;
  return index < pages ? page(index)[port % kWordsPerPage] : first_page[0];
}

volatile evtchn_fifo_control_block_t& control_block() {
  return control;
}

// The hypervisor links first and announces then: it sets a ready bit after the head, and the upcall flag after the
// ready bit. So clear the flag, then take the ready bits: what comes later sets both again.
Port take() {
  for (;;) {
    if (ready == 0) {
      domain::vcpu().evtchn_upcall_pending = 0;
      full_barrier();
    }
    // A more urgent queue may have become ready since the last event.
    if (load(control.ready) != 0) ready |= exchange(control.ready, 0u);
    if (ready == 0) return 0;

    unsigned priority = static_cast<unsigned>(__builtin_ctz(ready));
    if (priority >= EVTCHN_FIFO_MAX_QUEUES) {
      ready = 0;
      continue;
    }
    // A queue that was emptied and refilled starts at the head that the hypervisor wrote; one that is being drained
    // goes on where the last event linked to.
    Port port = heads[priority] != 0 ? heads[priority] : load(control.head[priority]);
    if (port == 0) {
      ready &= ~(1u << priority);
      continue;
    }
    Port next = unlink(port);
    heads[priority] = next;
    if (next == 0) ready &= ~(1u << priority);

    event_word_t state = load(word(port));
    if ((state & kPending) != 0 && (state & kMasked) == 0) {
      fetch_and(word(port), ~kPending);
      return port;
    }
  }
}

void mask(Port port) {
  fetch_or(word(port), kMasked);
}

// A port that is masked and pending is left to EVTCHNOP_unmask, for nobody else will link it. MASKED must not change
// while the word is BUSY: the hypervisor is linking it then, which takes it a few instructions.
bool unmask(Port port) {
  volatile event_word_t& shared = word(port);
  event_word_t old = load(shared);
  while ((old & kMasked) != 0) {
    if ((old & kPending) != 0) return true;
    old &= ~kBusy;
    if (compare_exchange(shared, old, old & ~kMasked)) break;
  }
  return false;
}

}  // namespace xenopolis::guest::fifo
