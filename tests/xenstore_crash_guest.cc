#include "xenstore_crash_guest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace xenopolis {
namespace {

const std::string kNul(1, '\0');
const std::string kOk = "OK" + kNul;
constexpr size_t kUnderWayMax = 4;
constexpr size_t kBigMax = 3000;
constexpr unsigned kChildren = 4;

uint32_t load(uint32_t& index) {
  return std::atomic_ref<uint32_t>(index).load();
}
void store(uint32_t& index, uint32_t value) {
  std::atomic_ref<uint32_t>(index).store(value);
}
unsigned below(std::mt19937& random, unsigned bound) {
  return static_cast<unsigned>(random() % bound);
}
std::string child(unsigned number) {
  return fmt::format("dir/{}", number);
}

}  // namespace

CrashGuest::CrashGuest(CrashScene& scene, DomId domid, Port port, xenstore_domain_interface& page,
                       uint64_t& pending_ports, bool may_share)
    : scene_(scene), domid_(domid), port_(port), page_(page), pending_ports_(pending_ports), may_share_(may_share) {
  restart();
}

void CrashGuest::restart() {
  is_awake_ = true;
  output_.clear();
  input_.clear();
  awaited_.clear();
  next_req_id_ = 1;
  answered_ = 0;
  counter_ = 0;
  nodes_.clear();
  perms_.clear();
  watches_.clear();
  flag_watch_.reset();
  is_flag_watch_leaving_ = is_reading_flag_ = is_flag_read_due_ = is_last_change_due_ = false;
  last_flag_.clear();
  transaction_.reset();
  shall_try_again_ = false;
  due_after_.clear();
  expect(XS_MKDIR, "dir" + kNul, kOk);
  write_counter();
}

void CrashGuest::complain(const std::string& what) const {
  scene_.complaints.add(fmt::format("guest {}, {} kills: {}", domid_, scene_.kills.load(), what));
}

void CrashGuest::ask(uint32_t type, const std::string& payload, std::function<void(bool, std::string_view)> check,
                     uint32_t tx_id) {
  const xsd_sockmsg header{type, next_req_id_++, tx_id, static_cast<uint32_t>(payload.size())};
  output_.append(reinterpret_cast<const char*>(&header), sizeof header).append(payload);
  awaited_.push_back({type, header.req_id, tx_id, std::move(check)});
}

void CrashGuest::expect(uint32_t type, const std::string& payload, const std::string& reply, uint32_t tx_id) {
  ask(
      type, payload,
      [this, reply, type, payload](bool is_error, std::string_view heard) {
        if (is_error || heard != reply) {
          complain(fmt::format("request {} {:?} of {} bytes: {:?}, not {:?}", type, payload.substr(0, 40),
                               payload.size(), heard.substr(0, 60), reply.substr(0, 60)));
        }
      },
      tx_id);
}

void CrashGuest::expect_error(uint32_t type, const std::string& payload, const std::string& error, uint32_t tx_id) {
  ask(
      type, payload,
      [this, error, type, payload](bool is_error, std::string_view heard) {
        if (!is_error || heard != error + kNul) {
          complain(fmt::format("request {} {:?}: {:?}, not {}", type, payload, heard.substr(0, 60), error));
        }
      },
      tx_id);
}

void CrashGuest::set(const std::string& node, std::optional<std::string> value) {
  nodes_[node] = std::move(value);
}

void CrashGuest::write_counter() {
  const std::string value = fmt::to_string(++counter_);
  expect(XS_WRITE, "counter" + kNul + value, kOk);
  set("counter", value);
  // The change is heard after the reply to the request before.
  const uint32_t before = next_req_id_ - 2;
  for (auto& [token, watch] : watches_) {
    if (answered_ >= before) {
      watch.is_due = true;
    } else {
      due_after_.emplace_back(before, token);
    }
  }
}

void CrashGuest::change_children(std::mt19937& random) {
  const std::string node = child(below(random, kChildren));
  std::optional<std::string>& value = nodes_[node];
  switch (below(random, 4)) {
    case 0:
      expect(XS_MKDIR, node + kNul, kOk);
      if (!value) value = "";
      return;
    case 1:
      expect(XS_WRITE, node + kNul + "x", kOk);
      value = "x";
      return;
    default:
      expect(XS_RM, node + kNul, kOk);
      value.reset();
  }
}

void CrashGuest::change_perms(std::mt19937& random) {
  perms_ = fmt::format("n{}", domid_) + kNul;
  if (below(random, 2) == 0) perms_ += fmt::format("r{}", below(random, 1000) + 1) + kNul;
  expect(XS_SET_PERMS, "counter" + kNul + perms_, kOk);
}

void CrashGuest::change_watches(std::mt19937& random) {
  const bool is_flag = below(random, 3) == 0;
  if (is_flag && !flag_watch_) {
    const std::string token = fmt::format("flag{}", next_token_++);
    flag_watch_ = token;
    expect(XS_WATCH, std::string(kSharedFlag) + kNul + token + kNul, kOk);
    return;
  }
  if (is_flag) {
    if (is_flag_watch_leaving_) return;
    is_flag_watch_leaving_ = true;
    ask(XS_UNWATCH, std::string(kSharedFlag) + kNul + *flag_watch_ + kNul,
        [this](bool is_error, std::string_view heard) {
          if (is_error) complain(fmt::format("UNWATCH of the flag: {:?}", heard));
          flag_watch_.reset();
          is_flag_watch_leaving_ = false;
        });
    return;
  }
  const bool adds = watches_.size() < 2 || (watches_.size() < 4 && below(random, 2) == 0);
  if (adds) {
    const std::string token = fmt::format("t{}", next_token_++);
    // "When a watch is first set up it is triggered once straight away".
    watches_[token] = {true, false};
    expect(XS_WATCH, "counter" + kNul + token + kNul, kOk);
    return;
  }
  const auto leaving =
      std::find_if(watches_.begin(), watches_.end(), [](auto& entry) { return !entry.second.is_leaving; });
  if (leaving == watches_.end()) return;
  leaving->second.is_leaving = true;
  const std::string token = leaving->first;
  ask(XS_UNWATCH, "counter" + kNul + token + kNul, [this, token](bool is_error, std::string_view heard) {
    if (is_error) complain(fmt::format("UNWATCH {}: {:?}", token, heard));
    watches_.erase(token);
  });
}

void CrashGuest::read_back(std::mt19937& random) {
  static const std::string kNames[] = {"counter", "big", "dir/0", "dir/1", "dir/2", "dir/3", "tx"};
  const unsigned what = below(random, 9);
  if (what == 7) {
    std::set<std::string> names;
    for (unsigned i = 0; i < kChildren; ++i) {
      if (nodes_[child(i)]) names.insert(fmt::to_string(i));
    }
    ask(XS_DIRECTORY, "dir" + kNul, [this, names](bool is_error, std::string_view heard) {
      std::set<std::string> found;
      for (std::string_view rest = heard; !is_error && !rest.empty(); rest.remove_prefix(rest.find('\0') + 1)) {
        found.emplace(rest.substr(0, rest.find('\0')));
      }
      if (is_error || found != names) complain(fmt::format("the directory has {} names: {:?}", names.size(), heard));
    });
  } else if (what == 8) {
    if (!perms_.empty()) expect(XS_GET_PERMS, "counter" + kNul, perms_);
  } else if (const auto& value = nodes_[kNames[what]]) {
    expect(XS_READ, kNames[what] + kNul, *value);
  } else {
    expect_error(XS_READ, kNames[what] + kNul, "ENOENT");
  }
}

void CrashGuest::begin_transaction(std::mt19937& random) {
  transaction_ = OwnTransaction{};
  transaction_->kills = scene_.kills.load();
  transaction_->is_shared = may_share_ && (shall_try_again_ || below(random, 10) == 0);
  shall_try_again_ = false;
  ask(XS_TRANSACTION_START, kNul, [this](bool is_error, std::string_view heard) {
    if (is_error) {
      complain(fmt::format("TRANSACTION_START: {:?}", heard));
      return transaction_.reset();
    }
    transaction_->id = static_cast<uint32_t>(std::stoul(std::string(heard)));
    if (!transaction_->is_shared) return go_on_in_transaction({});
    ask(
        XS_READ, shared_counter(domid_) + kNul,
        [this](bool failed, std::string_view value) {
          if (failed) complain(fmt::format("the shared counter: {:?}", value));
          go_on_in_transaction(failed ? "0" : std::string(value));
        },
        transaction_->id);
  });
}

void CrashGuest::go_on_in_transaction(const std::string& shared_value) {
  OwnTransaction& own = *transaction_;
  if (own.is_shared) {
    expect(XS_WRITE, shared_counter(domid_) + kNul + fmt::to_string(std::stoull(shared_value) + 1), kOk, own.id);
  }
  own.changes["tx"] = fmt::to_string(next_req_id_);
  expect(XS_WRITE, "tx" + kNul + *own.changes["tx"], kOk, own.id);
  expect_error(XS_WRITE, kForbidden + kNul + "x", "EACCES", own.id);
  end_transaction();
}

void CrashGuest::end_transaction() {
  ask(
      XS_TRANSACTION_END, "T" + kNul, [this](bool is_error, std::string_view heard) { finished(is_error, heard); },
      transaction_->id);
}

void CrashGuest::finished(bool is_error, std::string_view payload) {
  const OwnTransaction own = *std::exchange(transaction_, std::nullopt);
  if (!is_error) {
    for (const auto& [node, value] : own.changes) set(node, value);
    if (own.is_shared) ++scene_.commits[domid_ % kSharedCounters];
    return;
  }
  if (payload != "EAGAIN" + kNul) complain(fmt::format("TRANSACTION_END: {:?}", payload));
  const bool has_lived_through_a_kill = own.kills != scene_.kills.load();
  if (has_lived_through_a_kill) ++scene_.lost_transactions;
  if (own.is_shared) ++scene_.refusals;
  shall_try_again_ = own.is_shared;
  if (!own.is_shared && !has_lived_through_a_kill) complain("EAGAIN without a conflict");
}

// Something new to ask.
void CrashGuest::think(std::mt19937& random) {
  if (is_flag_read_due_ && !is_reading_flag_) {
    is_flag_read_due_ = false;
    is_reading_flag_ = true;
    ask(XS_READ, kSharedFlag + kNul, [this](bool is_error, std::string_view heard) {
      if (is_error) complain(fmt::format("the flag: {:?}", heard));
      last_flag_ = heard;
      is_reading_flag_ = false;
    });
    return;
  }
  // Of what a transaction changes nothing is known until it has ended.
  if (transaction_ || awaited_.size() >= kUnderWayMax) return;
  if (scene_.is_draining) {
    if (std::exchange(is_last_change_due_, false)) write_counter();
    return;
  }
  if (!awaited_.empty() && below(random, 4) != 0) return;
  switch (below(random, 16)) {
    case 0:
    case 1:
    case 2:
      return write_counter();
    case 3:
    case 4:
    case 5:
      return change_children(random);
    case 6:
      return change_perms(random);
    case 7:
    case 8:
      return change_watches(random);
    case 9:
    case 10:
      return begin_transaction(random);
    case 11: {
      const std::string value(below(random, kBigMax) + 1, static_cast<char>('a' + below(random, 26)));
      expect(XS_WRITE, "big" + kNul + value, kOk);
      return set("big", value);
    }
    default:
      return read_back(random);
  }
}

void CrashGuest::notify() {
  if (!scene_.channels.send(domid_, port_)) complain("the event channel is closed");
}

// As Linux's xb_write(): an event only if the ring looked empty.
bool CrashGuest::put(std::mt19937& random) {
  if (output_.empty()) return false;
  const uint32_t producer = load(page_.req_prod);
  const uint32_t used = producer - load(page_.req_cons);
  if (used > XENSTORE_RING_SIZE) {
    complain("the ring of requests has gone astray");
    return false;
  }
  size_t bytes = std::min<size_t>(output_.size(), XENSTORE_RING_SIZE - used);
  if (bytes == 0) return false;
  if (below(random, 4) == 0) bytes = 1 + below(random, static_cast<unsigned>(bytes));
  for (size_t i = 0; i < bytes; ++i) page_.req[MASK_XENSTORE_IDX(producer + i)] = output_[i];
  output_.erase(0, bytes);
  store(page_.req_prod, producer + static_cast<uint32_t>(bytes));
  if (static_cast<int32_t>(producer - load(page_.req_cons)) <= 0) notify();
  return true;
}

// As Linux's xb_read(): an event only if the ring was full.
bool CrashGuest::take(std::mt19937& random) {
  const uint32_t consumer = load(page_.rsp_cons);
  uint32_t bytes = load(page_.rsp_prod) - consumer;
  if (bytes > XENSTORE_RING_SIZE) {
    complain("the ring of responses has gone astray");
    return false;
  }
  if (bytes == 0) return false;
  if (below(random, 4) == 0) bytes = 1 + below(random, bytes);
  for (uint32_t i = 0; i < bytes; ++i) input_.push_back(page_.rsp[MASK_XENSTORE_IDX(consumer + i)]);
  store(page_.rsp_cons, consumer + bytes);
  if (load(page_.rsp_prod) - consumer >= XENSTORE_RING_SIZE) notify();

  size_t done = 0;
  xsd_sockmsg header;
  while (input_.size() - done >= sizeof header) {
    std::memcpy(&header, input_.data() + done, sizeof header);
    if (header.len > XENSTORE_PAYLOAD_MAX) {
      complain("a reply that is torn");
      input_.clear();
      return true;
    }
    if (input_.size() - done < sizeof header + header.len) break;
    hear(header, std::string_view(input_).substr(done + sizeof header, header.len));
    done += sizeof header + header.len;
  }
  input_.erase(0, done);
  return true;
}

void CrashGuest::hear(const xsd_sockmsg& header, std::string_view payload) {
  if (header.type == XS_WATCH_EVENT) return hear_event(payload);
  ++scene_.replies;
  if (awaited_.empty()) return complain(fmt::format("an answer to nothing: {} {}", header.type, header.req_id));
  const Awaited awaited = std::move(awaited_.front());
  awaited_.pop_front();
  const bool is_error = header.type == XS_ERROR;
  if (header.req_id != awaited.req_id || header.tx_id != awaited.tx_id || (!is_error && header.type != awaited.type)) {
    return complain(fmt::format("an answer of type {} to {} in {}, awaited are {} to {} in {}", header.type,
                                header.req_id, header.tx_id, awaited.type, awaited.req_id, awaited.tx_id));
  }
  answered_ = awaited.req_id;
  awaited.check(is_error, payload);
  std::erase_if(due_after_, [&](const auto& due) {
    if (due.first > answered_) return false;
    const auto watch = watches_.find(due.second);
    if (watch != watches_.end()) watch->second.is_due = true;
    return true;
  });
}

void CrashGuest::hear_event(std::string_view payload) {
  ++scene_.events;
  const size_t nul = payload.find('\0');
  const std::string token(payload.substr(nul + 1, payload.size() - nul - 2));
  if (flag_watch_ && token == *flag_watch_) {
    if (payload.substr(0, nul) != kSharedFlag) complain(fmt::format("an event: {:?}", payload));
    is_flag_read_due_ = true;
    return;
  }
  const auto watch = watches_.find(token);
  if (watch == watches_.end() || payload.substr(0, nul) != "counter") {
    return complain(fmt::format("an event that nobody watches for: {:?}", payload));
  }
  watch->second.is_due = false;
}

bool CrashGuest::step(std::mt19937& random) {
  const uint64_t bit = 1ull << (port_ % 64);
  std::atomic_ref<uint64_t> pending(pending_ports_);
  if ((pending.load(std::memory_order_relaxed) & bit) != 0) {
    pending.fetch_and(~bit);
    is_awake_ = true;
  }
  const size_t before = output_.size();
  think(random);
  if (output_.size() != before) is_awake_ = true;
  if (!is_awake_) return false;
  const bool has_put = put(random), has_taken = take(random);
  is_awake_ = has_put || has_taken;
  return is_awake_;
}

bool CrashGuest::is_quiet() const {
  if (!output_.empty() || !awaited_.empty() || transaction_ || is_flag_read_due_ || is_last_change_due_) return false;
  return std::none_of(watches_.begin(), watches_.end(), [](const auto& entry) { return entry.second.is_due; });
}

std::string CrashGuest::state() const {
  std::string due;
  for (const auto& [token, watch] : watches_) due += watch.is_due ? " " + token : "";
  return fmt::format(
      "guest {}: {} bytes to say, {} answers to come{}, no event for [{}]; ring: requests {} {}, responses {} {}, "
      "error "
      "{}",
      domid_, output_.size(), awaited_.size(), awaited_.empty() ? "" : fmt::format(" from {}", awaited_.front().req_id),
      due, page_.req_cons, page_.req_prod, page_.rsp_cons, page_.rsp_prod, page_.error);
}

std::vector<std::pair<std::string, std::optional<std::string>>> CrashGuest::expected() const {
  return {nodes_.begin(), nodes_.end()};
}

}  // namespace xenopolis
