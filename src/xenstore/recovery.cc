// What survives the daemon: requests are kept in the journal, and repeated by the next daemon.
#include <fmt/format.h>

#include <array>
#include <cstring>

#include "base/check.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "xenstore/server.h"

namespace xenopolis::xenstore {
namespace {

// For records that go with a request's own: its reply, and what else its ring holds.
constexpr size_t kRoomForProgress = 128 * 1024;

uint16_t type_of(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kWrite:
      return XS_WRITE;
    case ChangeKind::kMakeDirectory:
      return XS_MKDIR;
    case ChangeKind::kRemove:
      return XS_RM;
    case ChangeKind::kSetPerms:
      return XS_SET_PERMS;
  }
  return 0;
}

// The payload of the request that the change was.
void append_change(std::string& payload, const Transaction::LoggedChange& change, const ReleasedDomains& released) {
  payload.append(change.path).push_back('\0');
  if (change.kind == ChangeKind::kWrite) payload.append(change.value);
  if (change.kind == ChangeKind::kSetPerms) append_perms(payload, *change.perms, released);
}

bool changes_a_quota(std::string_view payload) {
  std::array<std::string_view, 2> words;
  return split_strings(payload, words) >= 2 && (words[0] == "quota" || words[0] == "quota-soft") && words[1] == "set";
}

// "7|...": of INTRODUCE and RELEASE, which were carried out, so it is one.
DomId named_domain(std::string_view payload) {
  DomId domid = 0;
  CHECK(parse_decimal(payload.substr(0, payload.find('\0')), domid) && domid < kDomIdCount);
  return domid;
}

// Where the nodes of a checkpoint are.
class NodePaths {
 public:
  // The path and the value of the next; false: the record is damaged.
  bool take(std::string_view payload, std::string& path, std::string_view& value) {
    std::array<uint16_t, 2> numbers;
    if (payload.size() < sizeof numbers) return false;
    std::memcpy(numbers.data(), payload.data(), sizeof numbers);
    payload.remove_prefix(sizeof numbers);
    const auto [depth, name_bytes] = numbers;
    if (depth > lengths_.size() || name_bytes > payload.size()) return false;
    lengths_.resize(depth);
    path_.resize(depth == 0 ? 0 : lengths_.back());
    if (depth != 0) path_.append("/").append(payload.substr(0, name_bytes));
    lengths_.push_back(path_.size());
    path = path_.empty() ? "/" : path_;
    value = payload.substr(name_bytes);
    return true;
  }

 private:
  std::string path_;
  std::vector<size_t> lengths_;  // of the paths from the root to the last node
};

// Where Dom0's requests are repeated.
class Dom0Again final : public Transport {
 public:
  explicit Dom0Again(Server& server) : connection_(server, server.watches(), server.ready(), *this, Subject{}) {}
  bool take_turn() override { return false; }
  Connection& connection() { return connection_; }

 private:
  Connection connection_;
};

}  // namespace

bool Server::has_room_to_keep(const Request& request) const {
  size_t bytes = kRoomForProgress + record_bytes(request.payload.size());
  if (request.transaction != nullptr) {
    for (const Transaction::LoggedChange& change : request.transaction->changes()) {
      bytes += record_bytes(change.path.size() + change.value.size() + kPayloadMax);
    }
  }
  return journal_->make_room(bytes);
}

// After it was carried out, and before its reply goes out.
void Server::keep(const Request& request) {
  fault_point("keep: carried out");
  const DomId domid = request.connection.subject().domid;
  const bool is_guest = domid != kDom0;
  switch (request.header.type) {
    case XS_TRANSACTION_START:
      if (is_guest) journal_->add(XS_TRANSACTION_START, domid, fmt::format("{}", request.started));
      break;
    case XS_TRANSACTION_END:
      if (is_guest) journal_->add(XS_TRANSACTION_END, domid, fmt::format("{}", request.header.tx_id));
      break;
    case XS_WATCH:
    case XS_UNWATCH:
    case XS_RESET_WATCHES:
      if (is_guest) journal_->add(static_cast<uint16_t>(request.header.type), domid, request.payload);
      break;
    case XS_INTRODUCE:
      break;  // see introduce()
    case XS_CONTROL:
      if (changes_a_quota(request.payload)) journal_->add(XS_CONTROL, domid, request.payload);
      break;
    default:
      if (request.transaction == nullptr) {
        journal_->add(static_cast<uint16_t>(request.header.type), domid, request.payload);
      }
  }
  if (!journal_->has_batch()) return;
  request.connection.add_progress(*journal_);
  if (!journal_->commit()) log::error("the journal is full: a change will not survive a restart");
}

// The changes of a transaction that has been committed, as requests outside of it; to keep() they belong to its end.
void Server::keep_commit(const Transaction& transaction, const Subject& subject) {
  if (journal_ == nullptr || is_repeating_) return;
  std::string payload;
  for (const Transaction::LoggedChange& change : transaction.changes()) {
    if (change.refused) continue;
    payload.clear();
    append_change(payload, change, store_.released());
    journal_->add(type_of(change.kind), subject.domid, payload);
  }
}

// A checkpoint is taken while the store changes. So a domain that was gone when its turn came may still act in the
// records behind; and what they say may be done already, which is no error.
Server::Domain& Server::domain_again(DomId domid) {
  const auto known = domains_.find(domid);
  if (known != domains_.end()) return known->second;
  return add_domain(domid);
}

void Server::repeat(Connection& dom0, const Record& record) {
  Connection& connection = record.domid == kDom0 ? dom0 : domain_again(record.domid).transport->connection();
  uint32_t transaction = 0;
  switch (record.type) {
    case kShutDownRecord:
      domain_again(record.domid).is_shut_down = true;
      return;
    case XS_TRANSACTION_START:
      if (parse_decimal(record.payload, transaction)) {
        connection.add_lost_transaction(transaction, store_.begin_lost());
      }
      return;
    case XS_TRANSACTION_END:
      if (parse_decimal(record.payload, transaction)) connection.take_transaction(transaction);
      return;
    case XS_RELEASE:
      domain_again(named_domain(record.payload));
      break;
    default:
      break;
  }
  answer(connection, Header{record.type, 0, 0, static_cast<uint32_t>(record.payload.size())}, record.payload);
  connection.forget_output();
}

Status Server::continue_from(Journal& journal) {
  Dom0Again dom0(*this);
  std::unordered_map<DomId, RingProgress> rings;
  std::string_view records = journal.contents();
  NodePaths nodes;
  std::string node, request;
  journal_ = &journal;
  is_repeating_ = true;
  store_.quotas().suspend(true);
  for (Record record; take_record(records, record);) {
    if (record.type == kRingRecord) {
      auto progress = RingProgress::decode(record.payload);
      if (!progress) return fail(EINVAL, "the journal is damaged: a ring's record");
      rings.insert_or_assign(record.domid, std::move(*progress));
      continue;
    }
    if (record.type == kNodeRecord) {
      std::string_view value;
      if (!nodes.take(record.payload, node, value)) return fail(EINVAL, "the journal is damaged: a node");
      request.assign(node).push_back('\0');
      request.append(value);
      record = {XS_WRITE, kDom0, request};
    } else if (record.type == kPermsRecord) {
      request.assign(node).push_back('\0');
      request.append(record.payload);
      record = {XS_SET_PERMS, kDom0, request};
    }
    if (record.domid >= kDomIdCount) return fail(EINVAL, "the journal is damaged: a domain that cannot be");
    repeat(dom0.connection(), record);
    if (record.type == XS_INTRODUCE || record.type == XS_RELEASE) rings.erase(named_domain(record.payload));
  }
  store_.quotas().suspend(false);
  is_repeating_ = false;
  if (!records.empty()) return fail(EINVAL, "the journal is damaged: a record that is cut off");
  take_over_rings(rings);
  return {};
}

void Server::take_over_rings(const std::unordered_map<DomId, RingProgress>& recorded) {
  std::vector<DomId> gone;
  for (auto& [domid, domain] : domains_) {
    Connection& connection = domain.transport->connection();
    connection.subject().is_repeating = false;
    connection.forget_output();
    connection.limit_unread_replies(store_.quotas().of(domid).outstanding);
    XsResult<AttachedRing> ring = xs_fail(XsError::kNoEnt);
    if (link_ != nullptr && domain.port != 0) ring = link_->attach(domid, domain.gfn, domain.port);
    if (!ring) {
      gone.push_back(domid);
      continue;
    }
    ring->features = features_of(domid);
    const auto progress = recorded.find(domid);
    domain.transport->take_over(std::move(*ring),
                                progress == recorded.end() ? std::nullopt : std::optional(progress->second));
    fault_point("recovery: ring taken over");
    connection.fire_all_watches();
    ready_.push(*domain.transport);
  }
  for (const DomId domid : gone) {
    log::info("domain {} has gone while nobody was there", domid);
    (void)release(domid);
  }
}

}  // namespace xenopolis::xenstore
