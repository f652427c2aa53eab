#include "runtime/console.h"

#include "runtime/atomic.h"
#include "runtime/clock.h"
#include "runtime/events.h"

namespace xenopolis::guest::console {
namespace {

constexpr XENCONS_RING_IDX kRingBytes = sizeof(xencons_interface::out);

// A backend that frees space without an event still gets noticed.
constexpr uint64_t kLongestWaitNs = 20'000'000;

bool untold;              // written since the last notification
evtchn_send_t send_call;  // must outlive the batch

// Room for the next character, after sleeping for it as long as it takes. Nothing the backend writes into its index
// makes us write outside the ring; an index that makes no sense looks like a full ring.
void wait_for_room(xencons_interface& shared) {
  while (shared.out_prod - load(shared.out_cons) >= kRingBytes) {
    flush();
    events::clear(port());
    if (shared.out_prod - load(shared.out_cons) < kRingBytes) return;
    Port ports[] = {port()};
    events::poll(ports, 1, clock::now_ns() + kLongestWaitNs);
  }
}

}  // namespace

Port port() {
  return domain_self.info->console.domU.evtchn;
}

xencons_interface& ring() {
  return *domain::at_gfn<xencons_interface>(domain_self.info->console.domU.mfn);
}

void write(char c) {
  xencons_interface& shared = ring();
  wait_for_room(shared);
  XENCONS_RING_IDX at = shared.out_prod;
  shared.out[MASK_XENCONS_IDX(at, shared.out)] = c;
  store(shared.out_prod, at + 1);
  untold = true;
}

void write(Text text) {
  for (size_t i = 0; i < text.size; ++i) write(text.begin[i]);
}

void flush() {
  if (!untold) return;
  untold = false;
  events::send(port());
}

void flush_into(Multicall& batch) {
  if (!untold) return;
  untold = false;
  send_call.port = port();
  batch.add(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &send_call);
}

}  // namespace xenopolis::guest::console
