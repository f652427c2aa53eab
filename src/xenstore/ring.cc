#include "xenstore/ring.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>

#include "base/fault_point.h"
#include "base/log.h"

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

constexpr uint32_t kRecordDistance = 1u << 30;

uint32_t offset_of(uint32_t index) {
  return index & (kRingBytes - 1);
}

// Of the message that `output` begins with.
Header header_of(std::string_view output) {
  Header header;
  std::memcpy(&header, output.data(), kHeaderBytes);
  return header;
}
size_t message_bytes(std::string_view output) {
  return kHeaderBytes + header_of(output).len;
}
bool is_event(std::string_view output) {
  return header_of(output).type == XS_WATCH_EVENT;
}

}  // namespace

RingTransport::RingTransport(RequestHandler& handler, WatchTrie& trie, ReadyList& ready, const Subject& subject,
                             Journal* journal)
    : journal_(journal), connection_(handler, trie, ready, *this, subject) {}

void RingTransport::attach(AttachedRing ring) {
  ring_ = std::move(ring);
  request_consumer_ = load(ring_.page->req_cons);
  response_producer_ = load(ring_.page->rsp_prod);
  store(ring_.page->server_features, ring_.features);
  show_progress();
}

void RingTransport::detach() {
  connection_.restart();
  ring_ = {};
}

void RingTransport::reattach(AttachedRing ring) {
  ring_ = std::move(ring);
  store(ring_.page->server_features, ring_.features);
  store(ring_.page->connection, XENSTORE_RECONNECT);
  fault_point("reattach: to be restarted");
}

// A guest that was started before its store waits for this (xenstore-ring.txt), whatever its features are.
void RingTransport::start() {
  if (load(ring_.page->connection) == XENSTORE_RECONNECT) restart_ring();
}

void RingTransport::take_over(AttachedRing ring, const std::optional<RingProgress>& recorded) {
  ring_ = std::move(ring);
  const uint64_t word = journal_->ring_word(connection_.subject().domid).load();
  const RingProgress progress = recorded ? recorded->brought_up_to(word) : RingProgress::at(word);
  recorded_word_ = progress.word();
  request_consumer_ = progress.requests;
  response_producer_ = progress.responses;
  is_closed_ = progress.is_closed;
  cut_ = progress.cut;
  connection_.receive(progress.input);
  connection_.restore_output(progress.output);
  store(ring_.page->server_features, ring_.features);
  show_progress();
  start();
  // The predecessor may have died before it did.
  ring_.port->notify();
}

// What the guest said before is forgotten, watches as well.
void RingTransport::forget_everything() {
  connection_.restart();
  cut_ = 0;
  if (journal_ != nullptr) journal_->add(XS_RESET_WATCHES, connection_.subject().domid, std::string_view("\0", 1));
  record_progress();
}

void RingTransport::restart_ring() {
  request_consumer_ = 0;
  response_producer_ = 0;
  is_closed_ = false;
  forget_everything();
  xenstore_domain_interface& page = *ring_.page;
  store(page.req_prod, 0);
  fault_point("restart: req_prod");
  store(page.rsp_cons, 0);
  show_progress();
  store(page.error, XENSTORE_ERROR_NONE);
  store(page.connection, XENSTORE_CONNECTED);
  fault_point("restart: connected");
  ring_.port->notify();
}

void RingTransport::close(uint32_t reason) {
  is_closed_ = true;
  // First: the next daemon would not know the reason.
  if ((ring_.features & kXenstoreFeatureError) != 0) store(ring_.page->error, reason);
  fault_point("close: error shown");
  forget_everything();
  ring_.port->notify();
}

RingProgress RingTransport::progress() const {
  RingProgress progress{request_consumer_, response_producer_, is_closed_, cut_, {}, {}};
  progress.input = connection_.unhandled_input();
  std::string_view output = connection_.output();
  progress.output = output.substr(0, cut_);
  // Of the messages behind the cut one, those that are no events.
  for (output.remove_prefix(cut_); !output.empty();) {
    const size_t bytes = message_bytes(output);
    if (!is_event(output)) progress.output += output.substr(0, bytes);
    output.remove_prefix(bytes);
  }
  return progress;
}

void RingTransport::add_progress(Journal& journal) {
  const RingProgress now = progress();
  const std::string encoded = now.encode();
  count_bytes(encoded.size());
  journal.add(kRingRecord, connection_.subject().domid, encoded);
  recorded_word_ = now.word();
}

void RingTransport::record_progress() {
  if (journal_ == nullptr) return;
  add_progress(*journal_);
  if (!journal_->commit()) log::error("domain {}: the journal is full", connection_.subject().domid);
}

// To the journal first, then to the guest.
void RingTransport::show_progress() {
  if (journal_ != nullptr) {
    const uint64_t word = uint64_t{request_consumer_} << 32 | response_producer_;
    journal_->ring_word(connection_.subject().domid).store(word, std::memory_order_release);
    fault_point("ring: word");
  }
  store(ring_.page->rsp_prod, response_producer_);
  fault_point("ring: responses shown");
  store(ring_.page->req_cons, request_consumer_);
  fault_point("ring: requests shown");
}

// Takes what the guest has written of the next request, and nothing behind it. True if there was any.
bool RingTransport::pull() {
  if (!connection_.wants_input()) return false;
  bool has_pulled = false;
  // Twice at most: the header, then the payload.
  while (connection_.missing_input() != 0) {
    const uint32_t available = load(ring_.page->req_prod) - request_consumer_;
    if (available > kRingBytes) {
      close(XENSTORE_ERROR_RINGIDX);
      return false;
    }
    const uint32_t bytes = static_cast<uint32_t>(std::min<size_t>(available, connection_.missing_input()));
    if (bytes == 0) return has_pulled;
    const uint32_t start = offset_of(request_consumer_);
    const uint32_t until_end = std::min(bytes, kRingBytes - start);
    char copy[kRingBytes];
    std::memcpy(copy, ring_.page->req + start, until_end);
    std::memcpy(copy + until_end, ring_.page->req, bytes - until_end);
    connection_.receive(std::string_view(copy, bytes));
    request_consumer_ += bytes;
    fault_point("ring: pulled");
    has_pulled = true;
  }
  return has_pulled;
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
  fault_point("ring: put");
  response_producer_ += bytes;
  size_t end = cut_;  // of the last message that has been begun
  while (end < bytes) end += message_bytes(output.substr(end));
  cut_ = static_cast<uint32_t>(end - bytes);
  connection_.sent(bytes);
  return true;
}

// One request and what can be said: true if anything moved.
bool RingTransport::pass() {
  const bool has_pulled = pull();
  if (is_closed_) return false;
  connection_.process(1);
  if (connection_.is_broken()) {
    close(XENSTORE_ERROR_PROTO);
    return false;
  }
  const bool has_pushed = push();
  if (is_closed_ || (!has_pulled && !has_pushed)) return false;
  const bool keeps_bytes = !connection_.unhandled_input().empty() || !connection_.output().empty();
  // A word that is ahead of its record by half the range of an index would look as if it were behind.
  const bool is_far = request_consumer_ - static_cast<uint32_t>(recorded_word_ >> 32) > kRecordDistance ||
                      response_producer_ - static_cast<uint32_t>(recorded_word_) > kRecordDistance;
  if (keeps_bytes || is_far) record_progress();
  show_progress();
  return true;
}

bool RingTransport::take_turn() {
  if (ring_.page == nullptr) return false;
  if ((ring_.features & kXenstoreFeatureReconnection) != 0 && load(ring_.page->connection) == XENSTORE_RECONNECT) {
    restart_ring();
    return false;
  }
  if (is_closed_) return false;
  if (!account_.begin_turn()) return true;
  bool has_moved = false;
  bool may_have_more = true;
  // Bounded by kRequestsPerTurn passes, each of at most one ring in either direction and one request. Ends early when a
  // pass finds, after all its stores, nothing to take and no room to give: then the guest notifies next.
  for (unsigned passes = 0; passes < kRequestsPerTurn && may_have_more && !account_.is_spent(); ++passes) {
    const bool moved = pass();
    if (is_closed_) break;
    has_moved |= moved;
    may_have_more = moved || connection_.has_work();
  }
  account_.end_turn();
  if (is_closed_) return false;
  if (has_moved) ring_.port->notify();
  return may_have_more;
}

}  // namespace xenopolis::xenstore
