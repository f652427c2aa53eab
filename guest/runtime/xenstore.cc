#include "runtime/xenstore.h"

#include "runtime/atomic.h"
#include "runtime/console.h"
#include "runtime/events.h"

namespace xenopolis::guest::xenstore {
namespace {

Message message;
uint32_t received;  // bytes of the current message that were read, header included
xsd_sockmsg header;
uint32_t watch_events;  // that came and were not taken
RequestId last_request;
bool untold;              // changes of the ring that the backend does not know of
evtchn_send_t send_call;  // must outlive the batch

void sleep() {
  Port ports[] = {port()};
  console::flush_into(common_batch);
  flush_into(common_batch);
  events::run_and_poll(common_batch, ports, 1);
}

void put(const char* bytes, size_t size) {
  xenstore_domain_interface& shared = ring();
  for (size_t i = 0; i < size; ++i) {
    while (shared.req_prod - load(shared.req_cons) >= XENSTORE_RING_SIZE) {
      untold = true;
      events::clear(port());
      if (shared.req_prod - load(shared.req_cons) >= XENSTORE_RING_SIZE) sleep();
    }
    XENSTORE_RING_IDX at = shared.req_prod;
    shared.req[MASK_XENSTORE_IDX(at)] = bytes[i];
    store(shared.req_prod, at + 1);
  }
  untold = true;
}

// Takes what the ring holds, up to one whole message; true when one is complete. A message may come in pieces, and a
// piece may be one byte.
bool receive() {
  xenstore_domain_interface& shared = ring();
  bool was_full = load(shared.rsp_prod) - shared.rsp_cons >= XENSTORE_RING_SIZE;
  while (shared.rsp_cons != load(shared.rsp_prod)) {
    char byte = shared.rsp[MASK_XENSTORE_IDX(shared.rsp_cons)];
    store(shared.rsp_cons, shared.rsp_cons + 1);
    if (received < sizeof header) {
      reinterpret_cast<char*>(&header)[received] = byte;
    } else if (received - sizeof header < Message::kBodyBytes) {
      message.body[received - sizeof header] = byte;
    }
    ++received;
    if (received >= sizeof header && received - sizeof header >= header.len) {
      message.type = header.type;
      message.request = header.req_id;
      message.size = header.len < Message::kBodyBytes ? header.len : static_cast<uint32_t>(Message::kBodyBytes);
      received = 0;
      // A backend that waits for room in the ring must hear of it.
      if (was_full) untold = true;
      return true;
    }
  }
  if (was_full) untold = true;
  return false;
}

}  // namespace

Port port() {
  return domain_self.info->store_evtchn;
}

xenstore_domain_interface& ring() {
  return *domain::at_gfn<xenstore_domain_interface>(domain_self.info->store_mfn);
}

RequestId request(uint32_t type, const Text* parts, unsigned count) {
  xsd_sockmsg head{.type = type, .req_id = ++last_request, .tx_id = 0, .len = 0};
  for (unsigned i = 0; i < count; ++i) head.len += static_cast<uint32_t>(parts[i].size);
  put(reinterpret_cast<const char*>(&head), sizeof head);
  for (unsigned i = 0; i < count; ++i) put(parts[i].begin, parts[i].size);
  return head.req_id;
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

const Message& wait(RequestId request) {
  for (;;) {
    events::clear(port());
    while (receive()) {
      if (message.type == XS_WATCH_EVENT) {
        ++watch_events;
      } else if (message.request == request) {
        return message;
      }
    }
    sleep();
  }
}

bool take_watch_event() {
  if (watch_events != 0) {
    --watch_events;
    return true;
  }
  while (receive()) {
    if (message.type == XS_WATCH_EVENT) return true;
  }
  return false;
}

}  // namespace xenopolis::guest::xenstore
