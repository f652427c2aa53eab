#include "xenstore/connection.h"

#include <algorithm>

#include "base/check.h"
#include "machine/service_counters.h"

namespace xenopolis::xenstore {
namespace {

// A connection that has been quiet keeps no more than this.
constexpr size_t kKeptBytes = 1024;

std::string watch_key(std::string_view path, std::string_view token) {
  std::string key;
  key.reserve(path.size() + 1 + token.size());
  key.append(path).push_back('\0');
  key.append(token);
  return key;
}

constexpr std::string_view kNul("\0", 1);

}  // namespace

Connection::Connection(RequestHandler& handler, WatchTrie& trie, ReadyList& ready, Transport& transport,
                       const Subject& subject)
    : handler_(handler),
      trie_(trie),
      ready_(ready),
      transport_(transport),
      subject_(subject),
      limits_(subject.is_privileged() ? kDom0OutputLimits : kGuestOutputLimits) {}

Connection::~Connection() {
  contender_.reset();
  reset();
}

bool Connection::wants_input() const {
  return !is_broken_ && !is_output_full() && input_.pending_bytes() < kInputBytes && !input_.has_message();
}

void Connection::process(unsigned limit) {
  Header header;
  std::string_view payload;
  for (unsigned handled = 0; handled < limit && !is_broken_ && !is_parked_ && !is_held_ && !is_output_full();
       ++handled) {
    switch (input_.next(header, payload)) {
      case MessageReader::Next::kMessage:
        handler_.handle(*this, header, payload);
        if (is_parked_) input_.put_back(header);
        break;
      case MessageReader::Next::kIncomplete:
        return;
      case MessageReader::Next::kTooLong:
        is_broken_ = true;
        return;
    }
  }
}

void Connection::sent(size_t bytes) {
  sent_ += bytes;
  CHECK(sent_ <= output_.size());
  if (sent_ == output_.size()) {
    output_.clear();
    sent_ = 0;
    unread_replies_ = 0;
    if (output_.capacity() > kKeptBytes) output_.shrink_to_fit();
  } else if (sent_ >= limits_.replies) {
    output_.erase(0, sent_);
    sent_ = 0;
  }
  if (!overflowed_.empty()) send_overflowed_events();
}

void Connection::forget_output() {
  overflowed_.clear();
  for (auto& [key, watch] : watches_) watch->overflowed = false;
  output_.clear();
  sent_ = 0;
  unread_replies_ = 0;
}

void Connection::fire_all_watches() {
  for (auto& [key, watch] : watches_) fire(*watch, watch->path);
}

void Connection::reply(const Header& request, std::initializer_list<std::string_view> payload) {
  size_t bytes = 0;
  for (const std::string_view part : payload) bytes += part.size();
  if (bytes > kPayloadMax) return fail(request, XsError::kTooBig);
  ++unread_replies_;
  append_message(output_, request.type, request.req_id, request.tx_id, payload);
}

void Connection::fail(const Header& request, XsError error) {
  machine::count_service(machine::XenstoreCounter::kErrors);
  ++unread_replies_;
  append_message(output_, XS_ERROR, request.req_id, request.tx_id, {error_name(error), kNul});
}

void Connection::resume() {
  is_parked_ = false;
  is_held_ = false;
  ready_.push(transport_);
}

void Connection::add_watch(std::string_view path, std::string_view token, size_t relative_bytes, uint32_t depth) {
  auto [entry, is_new] = watches_.try_emplace(watch_key(path, token));
  CHECK(is_new);
  entry->second.reset(new Watch{*this, std::string(path), std::string(token), relative_bytes, depth, subject_.domid});
  watch_bytes_ += path.size() + token.size();
  trie_.add(*entry->second);
  // "When a watch is first set up it is triggered once straight away" (xenstore.txt).
  fire(*entry->second, path);
}

bool Connection::has_watch(std::string_view path, std::string_view token) const {
  return watches_.contains(watch_key(path, token));
}

bool Connection::remove_watch(std::string_view path, std::string_view token) {
  const auto entry = watches_.find(watch_key(path, token));
  if (entry == watches_.end()) return false;
  Watch& watch = *entry->second;
  if (watch.overflowed) std::erase(overflowed_, &watch);  // bounded by the client's own watches
  watch_bytes_ -= path.size() + token.size();
  trie_.remove(watch);
  watches_.erase(entry);
  return true;
}

void Connection::append_event(const Watch& watch, std::string_view path) {
  const std::string_view seen = path.substr(std::min(path.size(), watch.relative_bytes));
  // As in C xenstored, an event that cannot be said is not sent.
  if (seen.size() + watch.token.size() + 2 > kPayloadMax) return;
  append_message(output_, XS_WATCH_EVENT, 0, 0, {seen, kNul, watch.token, kNul});
}

void Connection::fire(Watch& watch, std::string_view path) {
  if (is_broken_) return;
  if (unread_bytes() >= limits_.events || !overflowed_.empty()) {
    if (!watch.overflowed) {
      watch.overflowed = true;
      overflowed_.push_back(&watch);
    }
    return;
  }
  machine::count_service(machine::XenstoreCounter::kEvents);
  append_event(watch, path);
  ready_.push(transport_);
}

// The protocol allows spurious events, and an event with the watch's own path says that anything below may have
// changed. So the backlog is bounded by the number of watches, and no change goes unnoticed.
void Connection::send_overflowed_events() {
  size_t done = 0;
  while (done < overflowed_.size() && unread_bytes() < limits_.replies) {
    Watch& watch = *overflowed_[done++];
    watch.overflowed = false;
    append_event(watch, watch.path);
  }
  overflowed_.erase(overflowed_.begin(), overflowed_.begin() + static_cast<std::ptrdiff_t>(done));
  if (done > 0) ready_.push(transport_);
}

uint32_t Connection::add_transaction(std::unique_ptr<Transaction> transaction) {
  // Bounded by the client's open transactions.
  while (next_transaction_ == 0 || transactions_.contains(next_transaction_)) ++next_transaction_;
  const uint32_t id = next_transaction_++;
  transactions_.emplace(id, std::move(transaction));
  return id;
}

void Connection::add_lost_transaction(uint32_t id, std::unique_ptr<Transaction> transaction) {
  transactions_.insert_or_assign(id, std::move(transaction));
}

Transaction* Connection::find_transaction(uint32_t id) {
  const auto entry = transactions_.find(id);
  return entry == transactions_.end() ? nullptr : entry->second.get();
}

std::unique_ptr<Transaction> Connection::take_transaction(uint32_t id) {
  const auto entry = transactions_.find(id);
  if (entry == transactions_.end()) return nullptr;
  std::unique_ptr<Transaction> transaction = std::move(entry->second);
  transactions_.erase(entry);
  return transaction;
}

void Connection::reset() {
  for (auto& [key, watch] : watches_) trie_.remove(*watch);
  overflowed_.clear();
  watches_.clear();
  watch_bytes_ = 0;
  transactions_.clear();
}

void Connection::restart() {
  contender_.reset();
  reset();
  input_ = MessageReader();
  output_.clear();
  sent_ = 0;
  unread_replies_ = 0;
  is_broken_ = false;
  is_parked_ = false;
}

}  // namespace xenopolis::xenstore
