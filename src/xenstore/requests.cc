// What the requests about nodes, watches and transactions mean (xenstore.txt).
#include <fmt/format.h>

#include <array>

#include "base/log.h"
#include "machine/service_counters.h"
#include "xenstore/server.h"
#include "xenstore/work.h"

namespace xenopolis::xenstore {
namespace {

using machine::XenstoreCounter;

constexpr std::string_view kOk("OK\0", 3);

}  // namespace

const Server::OperationEntry& Server::operation_of(uint32_t type) {
  static const auto table = [] {
    std::array<OperationEntry, kXsTypeCount> entries{};
    entries[XS_CONTROL] = {&Server::control_request, true, false, true};
    entries[XS_DIRECTORY] = {&Server::directory};
    entries[XS_READ] = {&Server::read};
    entries[XS_GET_PERMS] = {&Server::get_perms};
    entries[XS_WATCH] = {&Server::watch, false, true, true};
    entries[XS_UNWATCH] = {&Server::unwatch, false, true, true};
    entries[XS_TRANSACTION_START] = {&Server::start_transaction, false, false, true};
    entries[XS_TRANSACTION_END] = {&Server::end_transaction, false, false, true};
    entries[XS_INTRODUCE] = {&Server::introduce, true, false, true};
    entries[XS_RELEASE] = {&Server::release_request, true, false, true};
    entries[XS_GET_DOMAIN_PATH] = {&Server::get_domain_path};
    entries[XS_WRITE] = {&Server::write, false, false, true};
    entries[XS_MKDIR] = {&Server::make_directory, false, false, true};
    entries[XS_RM] = {&Server::remove, false, false, true};
    entries[XS_SET_PERMS] = {&Server::set_perms, false, false, true};
    entries[XS_IS_DOMAIN_INTRODUCED] = {&Server::is_domain_introduced, true};
    entries[XS_RESUME] = {&Server::resume, true, false, true};
    entries[XS_SET_TARGET] = {&Server::set_target, true, false, true};
    entries[XS_RESET_WATCHES] = {&Server::reset_watches, false, false, true};
    entries[XS_DIRECTORY_PART] = {&Server::directory_part};
    entries[kXsGetFeature] = {&Server::get_feature};
    entries[kXsSetFeature] = {&Server::set_feature, true, false, true};
    entries[kXsGetQuota] = {&Server::get_quota, true};
    entries[kXsSetQuota] = {&Server::set_quota, true, false, true};
    return entries;
  }();
  static const OperationEntry unknown{};
  return type < table.size() ? table[type] : unknown;
}

void Server::handle(Connection& connection, const Header& header, std::string_view payload) {
  if (!trace_.traces(TraceKind::kMessages)) return answer(connection, header, payload);
  trace_.write_message("IN", connection.subject().domid, header.type, payload);
  const size_t before = connection.output().size();
  answer(connection, header, payload);
  trace_answers(connection, before);
}

// What was appended to the output, among it events that the request fired at its own client.
void Server::trace_answers(const Connection& connection, size_t since) {
  if (!trace_.traces(TraceKind::kMessages)) return;  // the request may have been to turn the log off
  MessageReader reader;
  reader.append(connection.output().substr(since));
  Header header;
  std::string_view payload;
  while (reader.next(header, payload) == MessageReader::Next::kMessage) {
    trace_.write_message("OUT", connection.subject().domid, header.type, payload);
  }
}

// Errors in the order in which xenstored finds them: type, privilege, transaction.
void Server::answer(Connection& connection, const Header& header, std::string_view payload) {
  count_work(1);
  count_bytes(payload.size());
  machine::count_service(std::min(header.type, kXsTypeCount));
  const machine::RequestTimer timer;
  const OperationEntry& entry = operation_of(header.type);
  if (entry.operation == nullptr) return connection.fail(header, XsError::kNoSys);
  if (entry.is_privileged && !connection.subject().is_privileged()) return connection.fail(header, XsError::kAcces);
  Request request{connection, header, payload, nullptr};
  if (!entry.ignores_transaction && header.tx_id != 0) {
    request.transaction = connection.find_transaction(header.tx_id);
    if (request.transaction == nullptr) return connection.fail(header, XsError::kNoEnt);
  }
  const bool is_kept = entry.is_kept && journal_ != nullptr && !is_repeating_;
  if (is_kept && !has_room_to_keep(request)) return connection.fail(header, XsError::kNoSpc);
  const XsStatus done = (this->*entry.operation)(request);
  if (!done) connection.fail(header, done.error());
  if (is_kept && !connection.is_parked() && (done || request.has_ended)) keep(request);
}

XsResult<std::string_view> Server::path_of(const Subject& subject, std::string_view given, bool may_be_special) {
  const std::string_view path = TRY(may_be_special ? canonical_watch_path(given, subject.domid, path_buffer_)
                                                   : canonical_path(given, subject.domid, path_buffer_));
  if (subject.is_privileged()) return path;
  const size_t bytes = limited_path_bytes(path);
  if (exceeds(store_.quotas().of(subject.domid).path_bytes, bytes)) return xs_fail(XsError::kInval);
  maxima_.note(subject.domid, Account::kPathBytes, bytes);
  return path;
}

XsResult<const Node*> Server::read_node(Request& request, uint8_t what) {
  std::string_view given;
  if (!is_one_string(request.payload, given)) return xs_fail(XsError::kInval);
  const Subject& subject = request.connection.subject();
  const std::string_view path = TRY(path_of(subject, given));
  return store_.read(path, what, subject, request.transaction);
}

XsStatus Server::read(Request& request) {
  const Node* node = TRY(read_node(request, kReadContent));
  request.connection.reply(request.header, {node->value});
  return {};
}

XsStatus Server::directory(Request& request) {
  const Node* node = TRY(read_node(request, kReadChildren));
  if (node->children.name_bytes() > kPayloadMax) return xs_fail(XsError::kTooBig);
  reply_buffer_.clear();
  node->children.append_names(reply_buffer_, 0, kPayloadMax);
  request.connection.reply(request.header, {reply_buffer_});
  return {};
}

// "<gencnt> being the same for multiple reads guarantees the node hasn't changed".
XsStatus Server::directory_part(Request& request) {
  std::array<std::string_view, 2> strings;
  uint32_t offset = 0;
  if (split_strings(request.payload, strings) != 2 || !parse_decimal(strings[1], offset)) {
    return xs_fail(XsError::kInval);
  }
  const Subject& subject = request.connection.subject();
  const std::string_view path = TRY(path_of(subject, strings[0]));
  const Node* node = TRY(store_.read(path, kReadChildren, subject, request.transaction));
  reply_buffer_ = fmt::format_int(std::max(node->children_generation, node->content_generation)).c_str();
  reply_buffer_.push_back('\0');
  const size_t generation_bytes = reply_buffer_.size();
  const uint32_t all_bytes = node->children.name_bytes();
  if (offset < all_bytes) {
    // One byte is kept for the empty string that ends the list.
    node->children.append_names(reply_buffer_, offset, kPayloadMax - generation_bytes - 1);
  }
  if (offset >= all_bytes || offset + (reply_buffer_.size() - generation_bytes) == all_bytes) {
    reply_buffer_.push_back('\0');
  }
  request.connection.reply(request.header, {reply_buffer_});
  return {};
}

void Server::note_holding(DomId domid, const Transaction* transaction) {
  if (transaction != nullptr) {
    maxima_.note(domid, Account::kTransactionNodes, transaction->accessed_count());
    return;
  }
  const Holding held = store_.held_by(domid);
  maxima_.note(domid, Account::kNodes, static_cast<uint64_t>(held.nodes));
  note_memory(domid, static_cast<uint64_t>(held.bytes));
}

// The soft quota refuses nothing. Told once in a domain's life, so that no guest fills the log.
void Server::note_memory(DomId domid, uint64_t bytes) {
  maxima_.note(domid, Account::kMemory, bytes);
  if (!exceeds(store_.quotas().of(domid).soft_memory, bytes) || !over_soft_quota_.insert(domid).second) return;
  log::warn("domain {} exceeds its soft quota of memory", domid);
}

// Events go out before the reply, as from C xenstored.
XsStatus Server::change(Request& request, const ChangeRequest& what) {
  if (request.transaction == nullptr && !turns_.admit_change(request.connection, what, store_.committed())) return {};
  std::vector<Change> changes;
  const Subject& subject = request.connection.subject();
  TRY_VOID(store_.change(what, subject, request.transaction, changes));
  if (!subject.is_privileged()) note_holding(subject.domid, request.transaction);
  fire_changes(std::move(changes), subject.domid);
  request.connection.reply(request.header, {kOk});
  return {};
}

XsStatus Server::write(Request& request) {
  const size_t nul = request.payload.find('\0');
  if (nul == std::string_view::npos) return xs_fail(XsError::kInval);
  const std::string_view path = TRY(path_of(request.connection.subject(), request.payload.substr(0, nul)));
  return change(request, {ChangeKind::kWrite, path, request.payload.substr(nul + 1), nullptr});
}

XsStatus Server::make_directory(Request& request) {
  std::string_view given;
  if (!is_one_string(request.payload, given)) return xs_fail(XsError::kInval);
  const std::string_view path = TRY(path_of(request.connection.subject(), given));
  return change(request, {ChangeKind::kMakeDirectory, path, {}, nullptr});
}

XsStatus Server::remove(Request& request) {
  std::string_view given;
  if (!is_one_string(request.payload, given)) return xs_fail(XsError::kInval);
  const std::string_view path = TRY(path_of(request.connection.subject(), given));
  return change(request, {ChangeKind::kRemove, path, {}, nullptr});
}

// What is told of special names that mean nothing: as of a child of the root that does not exist.
XsError Server::error_of_unknown_special(const Subject& subject, uint8_t access) const {
  const uint8_t allowed = access_of(*store_.committed().root->perms, subject, store_.released());
  return (allowed & access) != 0 ? XsError::kNoEnt : XsError::kAcces;
}

XsStatus Server::get_perms(Request& request) {
  const Subject& subject = request.connection.subject();
  std::string_view given;
  if (!is_one_string(request.payload, given)) return xs_fail(XsError::kInval);
  const std::string_view path = TRY(path_of(subject, given, true));
  PermsRef perms;
  if (!is_special(path)) {
    perms = TRY(store_.read(path, kReadPerms, subject, request.transaction))->perms;
  } else if (!SpecialNames::is_known(path)) {
    return xs_fail(error_of_unknown_special(subject, kAccessRead));
  } else {
    perms = specials_.perms_of(path);
    if ((access_of(*perms, subject, store_.released()) & kAccessRead) == 0) return xs_fail(XsError::kAcces);
  }
  reply_buffer_.clear();
  append_perms(reply_buffer_, *perms, store_.released());
  request.connection.reply(request.header, {reply_buffer_});
  return {};
}

XsStatus Server::set_perms(Request& request) {
  const Subject& subject = request.connection.subject();
  const size_t count = count_strings(request.payload);
  if (count < 2) return xs_fail(XsError::kInval);
  if (!subject.is_privileged()) {
    if (exceeds(store_.quotas().of(subject.domid).perms_per_node, count - 1)) return xs_fail(XsError::kNoSpc);
    maxima_.note(subject.domid, Account::kNodePermissions, count - 1);
  }
  std::vector<std::string_view> strings(count);  // at most kPayloadMax
  split_strings(request.payload, strings);
  std::vector<PermEntry> entries;
  entries.reserve(count - 1);
  for (size_t i = 1; i < count; ++i) entries.push_back(TRY(parse_perm(strings[i])));
  const std::string_view path = TRY(path_of(subject, strings[0], true));
  if (is_special(path)) return set_special_perms(request, path, std::move(entries));
  return change(request, {ChangeKind::kSetPerms, path, {}, store_.make_perms(std::move(entries))});
}

// Takes effect at once, also in a transaction.
XsStatus Server::set_special_perms(Request& request, std::string_view name, std::vector<PermEntry> entries) {
  const Subject& subject = request.connection.subject();
  constexpr uint8_t kNeeded = kAccessWrite | kAccessOwner;
  if (!SpecialNames::is_known(name)) return xs_fail(error_of_unknown_special(subject, kNeeded));
  const PermsRef old = specials_.perms_of(name);
  if ((access_of(*old, subject, store_.released()) & kNeeded) != kNeeded) return xs_fail(XsError::kAcces);
  if (!subject.is_privileged()) {
    if (entries[0].domid != old->owner()) return xs_fail(XsError::kPerm);
    // Else it could give every domid rights of its own, without a limit of its memory.
    if (!specials_.all().contains(name)) return xs_fail(XsError::kAcces);
  }
  specials_.set_perms(name, store_.make_perms(std::move(entries)));
  fire_special_perms(name, *old);
  request.connection.reply(request.header, {kOk});
  return {};
}

// "WATCH <wpath>|<token>|[<depth>|]?"
XsStatus Server::watch(Request& request) {
  Connection& connection = request.connection;
  const Subject& subject = connection.subject();
  std::array<std::string_view, 3> strings;
  const size_t count = split_strings(request.payload, strings);
  uint32_t depth = kAnyDepth;
  if (count == 3 && (features_of(subject.domid) & kXenstoreFeatureWatchDepth) != 0) {
    if (!parse_decimal(strings[2], depth) || depth == kAnyDepth) return xs_fail(XsError::kInval);
  } else if (count != 2) {
    return xs_fail(XsError::kInval);
  }
  const std::string_view given = strings[0];
  const std::string_view path = TRY(path_of(subject, given, true));
  if (connection.has_watch(path, strings[1])) return xs_fail(XsError::kExist);
  if (!subject.is_privileged()) {
    const Quota& quota = store_.quotas().of(subject.domid);
    const size_t bytes = connection.watch_bytes() + path.size() + strings[1].size();
    if (exceeds(quota.watches, connection.watch_count() + 1)) return xs_fail(XsError::kNoSpc);
    if (exceeds(quota.watch_bytes, bytes) ||
        exceeds(quota.memory, static_cast<uint64_t>(store_.held_by(subject.domid).bytes) + bytes)) {
      return xs_fail(XsError::kNoMem);
    }
    maxima_.note(subject.domid, Account::kWatches, connection.watch_count() + 1);
    note_memory(subject.domid, static_cast<uint64_t>(store_.held_by(subject.domid).bytes) + bytes);
  }
  if (trace_.traces(TraceKind::kObjects)) trace_.write("obj: CREATE watch {} {} d{}", path, strings[1], subject.domid);
  // The reply precedes the first event; nothing is refused from here on.
  connection.reply(request.header, {kOk});
  connection.add_watch(path, strings[1], path.size() - given.size(), depth);
  fire_client_watch(connection, path);
  return {};
}

XsStatus Server::unwatch(Request& request) {
  std::array<std::string_view, 2> strings;
  if (split_strings(request.payload, strings) != 2) return xs_fail(XsError::kInval);
  Connection& connection = request.connection;
  const std::string_view path = TRY(path_of(connection.subject(), strings[0], true));
  if (!connection.remove_watch(path, strings[1])) return xs_fail(XsError::kNoEnt);
  if (trace_.traces(TraceKind::kObjects)) {
    trace_.write("obj: DESTROY watch {} {} d{}", path, strings[1], connection.subject().domid);
  }
  connection.reply(request.header, {kOk});
  return {};
}

XsStatus Server::reset_watches(Request& request) {
  request.connection.reset();
  request.connection.reply(request.header, {kOk});
  return {};
}

XsStatus Server::start_transaction(Request& request) {
  if (request.transaction != nullptr) return xs_fail(XsError::kBusy);  // they do not nest
  Connection& connection = request.connection;
  if (!connection.subject().is_privileged() &&
      exceeds(store_.quotas().of(connection.subject().domid).transactions, connection.transaction_count() + 1)) {
    return xs_fail(XsError::kNoSpc);
  }
  if (!turns_.admit(connection)) return {};
  std::unique_ptr<Transaction> transaction = store_.begin();
  turns_.started(connection, *transaction);
  const uint32_t id = connection.add_transaction(std::move(transaction));
  request.started = id;
  const fmt::format_int text(id);
  connection.reply(request.header, {std::string_view(text.c_str(), text.size() + 1)});
  return {};
}

XsStatus Server::commit(Connection& connection, Transaction& transaction, std::vector<Change>& changes) {
  const std::optional<std::string> refusal = turns_.refusal(connection, transaction, store_.committed());
  if (refusal) {
    turns_.refused(connection, *refusal);
    return xs_fail(XsError::kAgain);
  }
  const XsStatus committed = store_.commit(transaction, connection.subject(), changes);
  if (committed) {
    machine::count_service(XenstoreCounter::kCommits);
    turns_.committed(connection, transaction);
  } else if (committed.error() == XsError::kAgain) {
    machine::count_service(XenstoreCounter::kConflicts);
    turns_.refused(connection, transaction.contended_path());
  }
  return committed;
}

XsStatus Server::end_transaction(Request& request) {
  std::string_view verdict;
  if (!is_one_string(request.payload, verdict) || (verdict != "T" && verdict != "F")) return xs_fail(XsError::kInval);
  if (request.transaction == nullptr) return xs_fail(XsError::kNoEnt);
  Connection& connection = request.connection;
  const std::unique_ptr<Transaction> transaction = connection.take_transaction(request.header.tx_id);
  request.has_ended = true;
  if (verdict == "T") {
    std::vector<Change> changes;
    TRY_VOID(commit(connection, *transaction, changes));
    keep_commit(*transaction, connection.subject());
    fire_changes(std::move(changes), connection.subject().domid);
  }
  connection.reply(request.header, {kOk});
  return {};
}

XsStatus Server::control_request(Request& request) {
  const std::string answer = TRY(control_.run(request.payload));
  request.connection.reply(request.header, {std::string_view(answer.c_str(), answer.size() + 1)});
  return {};
}

XsStatus Server::get_domain_path(Request& request) {
  std::string_view text;
  DomId domid = 0;
  if (!is_one_string(request.payload, text) || !parse_decimal(text, domid)) return xs_fail(XsError::kInval);
  const std::string path = domain_path(domid);
  request.connection.reply(request.header, {std::string_view(path.c_str(), path.size() + 1)});
  return {};
}

}  // namespace xenopolis::xenstore
