#include "xenstore/ring.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>

namespace xenopolis::xenstore {
namespace {

constexpr uint32_t kRingBytes = 1024;
static_assert(kRingBytes == XENSTORE_RING_SIZE && MASK_XENSTORE_IDX(kRingBytes) == 0);
static_assert(offsetof(xenstore_domain_interface, rsp) == 1024 &&
              offsetof(xenstore_domain_interface, req_cons) == 2048 &&
              offsetof(xenstore_domain_interface, req_prod) == 2052 &&
              offsetof(xenstore_domain_interface, rsp_cons) == 2056 &&
              offsetof(xenstore_domain_interface, rsp_prod) == 2060 &&
              offsetof(xenstore_domain_interface, server_features) == 2064 &&
              offsetof(xenstore_domain_interface, connection) == 2068 &&
              offsetof(xenstore_domain_interface, error) == 2072);

// Sequentially consistent, because Linux's xenbus notifies only when it finds the ring as it would be if we slept:
//   1. guest: stores req_prod          1. we: store req_cons
//   2. guest: loads req_cons           2. we: load req_prod
// so at least one of both must see the other's store; likewise for rsp_cons and rsp_prod.
uint32_t load(uint32_t& shared) {
  return std::atomic_ref<uint32_t>(shared).load(std::memory_order_seq_cst);
}
void store(uint32_t& shared, uint32_t value) {
  std::atomic_ref<uint32_t>(shared).store(value, std::memory_order_seq_cst);
}

uint32_t offset_of(uint32_t index) {
  return index & (kRingBytes - 1);
}

}  // namespace

RingTransport::RingTransport(RequestHandler& handler, WatchTrie& trie, ReadyList& ready, const Subject& subject,
                             AttachedRing ring)
    : ring_(std::move(ring)), connection_(handler, trie, ready, *this, subject) {
  take_indices();
}

void RingTransport::take_indices() {
  request_consumer_ = load(ring_.page->req_cons);
  response_producer_ = load(ring_.page->rsp_prod);
  store(ring_.page->server_features, XENSTORE_SERVER_FEATURE_RECONNECTION | XENSTORE_SERVER_FEATURE_ERROR);
}

void RingTransport::detach() {
  connection_.restart();
  ring_ = {};
}

void RingTransport::reattach(AttachedRing ring) {
  ring_ = std::move(ring);
  store(ring_.page->server_features, XENSTORE_SERVER_FEATURE_RECONNECTION | XENSTORE_SERVER_FEATURE_ERROR);
  restart_ring();
}

void RingTransport::restart_ring() {
  connection_.restart();
  xenstore_domain_interface& page = *ring_.page;
  request_consumer_ = 0;
  response_producer_ = 0;
  store(page.req_cons, 0);
  store(page.req_prod, 0);
  store(page.rsp_cons, 0);
  store(page.rsp_prod, 0);
  store(page.error, XENSTORE_ERROR_NONE);
  store(page.connection, XENSTORE_CONNECTED);
  is_closed_ = false;
  ring_.port->notify();
}

void RingTransport::close(uint32_t reason) {
  is_closed_ = true;
  connection_.restart();
  store(ring_.page->error, reason);
  ring_.port->notify();
}

// Copies what the guest has written. True if there was any.
bool RingTransport::pull() {
  if (!connection_.wants_input()) return false;
  const uint32_t available = load(ring_.page->req_prod) - request_consumer_;
  if (available > kRingBytes) {
    close(XENSTORE_ERROR_RINGIDX);
    return false;
  }
  if (available == 0) return false;
  const uint32_t start = offset_of(request_consumer_);
  const uint32_t until_end = std::min(available, kRingBytes - start);
  char copy[kRingBytes];
  std::memcpy(copy, ring_.page->req + start, until_end);
  std::memcpy(copy + until_end, ring_.page->req, available - until_end);
  connection_.receive(std::string_view(copy, available));
  request_consumer_ += available;
  store(ring_.page->req_cons, request_consumer_);
  return true;
}

// Copies as much output as fits. True if any did.
bool RingTransport::push() {
  const std::string_view output = connection_.output();
  if (output.empty()) return false;
  const uint32_t used = response_producer_ - load(ring_.page->rsp_cons);
  if (used > kRingBytes) {
    close(XENSTORE_ERROR_RINGIDX);
    return false;
  }
  const uint32_t bytes = static_cast<uint32_t>(std::min<size_t>(output.size(), kRingBytes - used));
  if (bytes == 0) return false;
  const uint32_t start = offset_of(response_producer_);
  const uint32_t until_end = std::min(bytes, kRingBytes - start);
  std::memcpy(ring_.page->rsp + start, output.data(), until_end);
  std::memcpy(ring_.page->rsp, output.data() + until_end, bytes - until_end);
  response_producer_ += bytes;
  store(ring_.page->rsp_prod, response_producer_);
  connection_.sent(bytes);
  return true;
}

bool RingTransport::take_turn() {
  if (ring_.page == nullptr) return false;
  if (load(ring_.page->connection) == XENSTORE_RECONNECT) {
    restart_ring();
    return false;
  }
  if (is_closed_) return false;
  bool has_moved = false;
  bool may_have_more = true;
  // Bounded by kRequestsPerTurn passes, each of at most one ring in either direction and one request. Ends early when a
  // pass finds, after all its stores, nothing to take and no room to give: then the guest notifies next.
  for (unsigned pass = 0; pass < kRequestsPerTurn && may_have_more && !is_closed_; ++pass) {
    const bool has_pulled = pull();
    if (is_closed_) break;
    connection_.process(1);
    if (connection_.is_broken()) {
      close(XENSTORE_ERROR_PROTO);
      break;
    }
    const bool has_pushed = push();
    has_moved |= has_pulled || has_pushed;
    may_have_more = has_pulled || has_pushed || connection_.has_work();
  }
  if (is_closed_) return false;
  if (has_moved) ring_.port->notify();
  return may_have_more;
}

}  // namespace xenopolis::xenstore
