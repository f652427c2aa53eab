// A client of xenstore over the domain's ring (<xen/io/xs_wire.h>): requests may be sent back to back, and their
// replies collected later, in the same order.
#pragma once

#include "runtime/domain.h"
#include "runtime/text.h"

namespace xenopolis::guest::xenstore {

using RequestId = uint32_t;

Port port();
xenstore_domain_interface& ring();

// A reply or a watch event. Bodies longer than kBodyBytes are cut: our guests read short values.
struct Message {
  static constexpr size_t kBodyBytes = 248;
  uint32_t type;  // XS_*
  RequestId request;
  uint32_t size;  // of what is in `body`
  char body[kBodyBytes];

  bool is_error() const { return type == XS_ERROR; }
  Text text() const { return text_in(body, size); }
};

// Puts a request into the ring; when the ring is full, tells the backend and sleeps until there is room. The parts are
// joined as they are: requests differ in which strings want a terminator (docs/misc/xenstore.txt of Xen).
RequestId request(uint32_t type, const Text* parts, unsigned count);

inline constexpr Text kEnd{"", 1};  // the NUL that ends a path

inline RequestId send_read(Text path) {
  const Text parts[] = {path, kEnd};
  return request(XS_READ, parts, 2);
}

inline RequestId send_write(Text path, Text value) {
  const Text parts[] = {path, kEnd, value};
  return request(XS_WRITE, parts, 3);
}

inline RequestId send_watch(Text path, Text token) {
  const Text parts[] = {path, kEnd, token, kEnd};
  return request(XS_WATCH, parts, 4);
}

// Tells the backend of the requests since the last time; flush_into() as part of a batch.
void flush();
void flush_into(Multicall& batch);

// Sleeps until the reply to `request` is there; replies to earlier requests are dropped, watch events are kept. The
// message stays valid until the next call.
const Message& wait(RequestId request);

// Whether a watch event has come. Only that one did, and not which, is remembered: whoever watches reads the node
// anyway.
bool take_watch_event();

inline const Message& read(Text path) {
  return wait(send_read(path));
}
inline const Message& write(Text path, Text value) {
  return wait(send_write(path, value));
}

}  // namespace xenopolis::guest::xenstore
