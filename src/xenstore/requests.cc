// What the requests about nodes, watches and transactions mean (xenstore.txt).
#include <fmt/format.h>

#include <array>

#include "xenstore/server.h"

namespace xenopolis::xenstore {
namespace {

constexpr std::string_view kOk("OK\0", 3);

}  // namespace

const Server::OperationEntry& Server::operation_of(uint32_t type) {
  static const auto table = [] {
    std::array<OperationEntry, XS_TYPE_COUNT> entries{};
    entries[XS_DIRECTORY] = {&Server::directory};
    entries[XS_READ] = {&Server::read};
    entries[XS_GET_PERMS] = {&Server::get_perms};
    entries[XS_WATCH] = {&Server::watch, false, true};
    entries[XS_UNWATCH] = {&Server::unwatch, false, true};
    entries[XS_TRANSACTION_START] = {&Server::start_transaction};
    entries[XS_TRANSACTION_END] = {&Server::end_transaction};
    entries[XS_INTRODUCE] = {&Server::introduce, true};
    entries[XS_RELEASE] = {&Server::release_request, true};
    entries[XS_GET_DOMAIN_PATH] = {&Server::get_domain_path};
    entries[XS_WRITE] = {&Server::write};
    entries[XS_MKDIR] = {&Server::make_directory};
    entries[XS_RM] = {&Server::remove};
    entries[XS_SET_PERMS] = {&Server::set_perms};
    entries[XS_IS_DOMAIN_INTRODUCED] = {&Server::is_domain_introduced, true};
    entries[XS_RESUME] = {&Server::resume, true};
    entries[XS_SET_TARGET] = {&Server::set_target, true};
    entries[XS_RESET_WATCHES] = {&Server::reset_watches};
    entries[XS_DIRECTORY_PART] = {&Server::directory_part};
    return entries;
  }();
  static const OperationEntry unknown{};
  return type < table.size() ? table[type] : unknown;
}

void Server::handle(Connection& connection, const Header& header, std::string_view payload) {
  const OperationEntry& entry = operation_of(header.type);
  if (entry.operation == nullptr) return connection.fail(header, XsError::kNoSys);
  if (entry.is_privileged && !connection.subject().is_privileged()) return connection.fail(header, XsError::kAcces);
  Request request{connection, header, payload, nullptr};
  if (!entry.ignores_transaction && header.tx_id != 0) {
    request.transaction = connection.find_transaction(header.tx_id);
    if (request.transaction == nullptr) return connection.fail(header, XsError::kNoEnt);
  }
  const XsStatus done = (this->*entry.operation)(request);
  if (!done) connection.fail(header, done.error());
}

XsResult<const Node*> Server::read_node(Request& request, uint8_t what) {
  std::string_view given;
  if (!is_one_string(request.payload, given)) return xs_fail(XsError::kInval);
  const Subject& subject = request.connection.subject();
  const std::string_view path = TRY(canonical_path(given, subject.domid, path_buffer_));
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

XsStatus Server::directory_part(Request& request) {
  std::array<std::string_view, 2> strings;
  uint32_t offset = 0;
  if (split_strings(request.payload, strings) != 2 || !parse_decimal(strings[1], offset)) {
    return xs_fail(XsError::kInval);
  }
  const Subject& subject = request.connection.subject();
  const std::string_view path = TRY(canonical_path(strings[0], subject.domid, path_buffer_));
  const Node* node = TRY(store_.read(path, kReadChildren, subject, request.transaction));
  reply_buffer_ = fmt::format_int(node->children_generation).c_str();
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

// Events go out before the reply, as from C xenstored.
XsStatus Server::change(Request& request, const ChangeRequest& what) {
  std::vector<Change> changes;
  TRY_VOID(store_.change(what, request.connection.subject(), request.transaction, changes));
  fire_changes(changes);
  request.connection.reply(request.header, {kOk});
  return {};
}

XsStatus Server::write(Request& request) {
  const size_t nul = request.payload.find('\0');
  if (nul == std::string_view::npos) return xs_fail(XsError::kInval);
  const DomId domid = request.connection.subject().domid;
  const std::string_view path = TRY(canonical_path(request.payload.substr(0, nul), domid, path_buffer_));
  return change(request, {ChangeKind::kWrite, path, request.payload.substr(nul + 1), nullptr});
}

XsStatus Server::make_directory(Request& request) {
  std::string_view given;
  if (!is_one_string(request.payload, given)) return xs_fail(XsError::kInval);
  const std::string_view path = TRY(canonical_path(given, request.connection.subject().domid, path_buffer_));
  return change(request, {ChangeKind::kMakeDirectory, path, {}, nullptr});
}

XsStatus Server::remove(Request& request) {
  std::string_view given;
  if (!is_one_string(request.payload, given)) return xs_fail(XsError::kInval);
  const std::string_view path = TRY(canonical_path(given, request.connection.subject().domid, path_buffer_));
  return change(request, {ChangeKind::kRemove, path, {}, nullptr});
}

XsStatus Server::get_perms(Request& request) {
  std::string_view given;
  PermsRef perms;
  const bool is_string = is_one_string(request.payload, given);
  if (is_string && is_special(given)) {
    const auto special = special_perms_.find(given);
    if (special == special_perms_.end()) return xs_fail(XsError::kInval);
    perms = special->second;
    if ((access_of(*perms, request.connection.subject(), store_.released()) & kAccessRead) == 0) {
      return xs_fail(XsError::kAcces);
    }
  } else {
    perms = TRY(read_node(request, kReadContent))->perms;
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
  if (!subject.is_privileged() && exceeds(store_.quotas().of(subject.domid).perms_per_node, count - 1))
    return xs_fail(XsError::kNoSpc);
  std::vector<std::string_view> strings(count);  // at most kPayloadMax
  split_strings(request.payload, strings);
  std::vector<PermEntry> entries;
  entries.reserve(count - 1);
  for (size_t i = 1; i < count; ++i) entries.push_back(TRY(parse_perm(strings[i])));
  if (is_special(strings[0])) return set_special_perms(request, strings[0], std::move(entries));
  const std::string_view path = TRY(canonical_path(strings[0], subject.domid, path_buffer_));
  return change(request, {ChangeKind::kSetPerms, path, {}, store_.make_perms(std::move(entries))});
}

XsStatus Server::set_special_perms(Request& request, std::string_view name, std::vector<PermEntry> entries) {
  const auto special = special_perms_.find(name);
  if (special == special_perms_.end()) return xs_fail(XsError::kInval);
  const uint8_t access = access_of(*special->second, request.connection.subject(), store_.released());
  if ((access & kAccessWrite) == 0 || (access & kAccessOwner) == 0) return xs_fail(XsError::kAcces);
  if (!request.connection.subject().is_privileged() && entries[0].domid != special->second->owner()) {
    return xs_fail(XsError::kPerm);
  }
  special->second = store_.make_perms(std::move(entries));
  request.connection.reply(request.header, {kOk});
  return {};
}

XsStatus Server::watch(Request& request) {
  std::array<std::string_view, 2> strings;
  if (split_strings(request.payload, strings) < 2) return xs_fail(XsError::kInval);
  Connection& connection = request.connection;
  const Subject& subject = connection.subject();
  const std::string_view given = strings[0];
  const std::string_view path = TRY(canonical_watch_path(given, subject.domid, path_buffer_));
  const Quota& quota = store_.quotas().of(subject.domid);
  const size_t bytes = connection.watch_bytes() + path.size() + strings[1].size();
  if (!subject.is_privileged() &&
      (exceeds(quota.watches, connection.watch_count() + 1) || exceeds(quota.watch_bytes, bytes))) {
    return xs_fail(XsError::kTooBig);
  }
  // The reply precedes the first event; nothing but a duplicate is refused from here on.
  if (connection.has_watch(path, strings[1])) return xs_fail(XsError::kExist);
  connection.reply(request.header, {kOk});
  connection.add_watch(path, strings[1], path.size() - given.size());
  return {};
}

XsStatus Server::unwatch(Request& request) {
  std::array<std::string_view, 2> strings;
  if (split_strings(request.payload, strings) < 2) return xs_fail(XsError::kInval);
  Connection& connection = request.connection;
  const std::string_view path = TRY(canonical_watch_path(strings[0], connection.subject().domid, path_buffer_));
  if (!connection.remove_watch(path, strings[1])) return xs_fail(XsError::kNoEnt);
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
  const uint32_t id = connection.start_transaction(store_.committed());
  const fmt::format_int text(id);
  connection.reply(request.header, {std::string_view(text.c_str(), text.size() + 1)});
  return {};
}

XsStatus Server::end_transaction(Request& request) {
  std::string_view verdict;
  if (!is_one_string(request.payload, verdict) || (verdict != "T" && verdict != "F")) return xs_fail(XsError::kInval);
  if (request.transaction == nullptr) return xs_fail(XsError::kNoEnt);
  Connection& connection = request.connection;
  const std::unique_ptr<Transaction> transaction = connection.take_transaction(request.header.tx_id);
  if (verdict == "T") {
    std::vector<Change> changes;
    TRY_VOID(store_.commit(*transaction, connection.subject(), changes));
    fire_changes(changes);
  }
  connection.reply(request.header, {kOk});
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
