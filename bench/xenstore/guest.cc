#include "guest.h"

#include <atomic>

#include "common/basics.h"

namespace xenopolis::bench {

void Guest::send(std::string_view bytes) {
  xenstore_domain_interface& page = daemon_.ring(domid_);
  const uint32_t at = page.req_prod;
  const uint32_t used = at - std::atomic_ref(page.req_cons).load();
  require(used + bytes.size() <= XENSTORE_RING_SIZE, "a request fits into the ring");
  for (uint32_t i = 0; i < bytes.size(); ++i) page.req[MASK_XENSTORE_IDX(at + i)] = bytes[i];
  std::atomic_ref(page.req_prod).store(at + static_cast<uint32_t>(bytes.size()));
  daemon_.notify(domid_);
}

std::string Guest::take() {
  xenstore_domain_interface& page = daemon_.ring(domid_);
  const uint32_t end = std::atomic_ref(page.rsp_prod).load();
  std::string bytes;
  uint32_t at = page.rsp_cons;
  // A full ring at most, whatever is written there.
  for (; at != end && bytes.size() < XENSTORE_RING_SIZE; ++at) bytes += page.rsp[MASK_XENSTORE_IDX(at)];
  std::atomic_ref(page.rsp_cons).store(at);
  // A daemon that found the ring full waits to hear of the room.
  if (bytes.size() == XENSTORE_RING_SIZE) daemon_.notify(domid_);
  return bytes;
}

Message Guest::receive() {
  Message next;
  while (!stream_.next(next)) {
    const std::string bytes = take();
    if (!bytes.empty()) {
      stream_.append(bytes);
    } else if (!daemon_.wait(domid_)) {
      give_up("domain {} gets no answer", domid_);
    }
  }
  return next;
}

void Guest::drop_input() {
  take();
  stream_ = MessageStream();
}

}  // namespace xenopolis::bench
