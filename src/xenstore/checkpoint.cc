#include "xenstore/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace xenopolis::xenstore {
namespace {

constexpr unsigned kNodesPerStep = 200;
constexpr unsigned kDomidsPerStep = 200;
constexpr size_t kBytesPerStep = 1 << 20;
// With fewer records left the rest is copied at once.
constexpr size_t kBytesAtOnce = 256 << 10;
// A checkpoint is due when the journal is half as long again as after the last one, and this besides.
constexpr uint64_t kShortJournal = 1 << 20;

}  // namespace

Checkpoint::Checkpoint(const Server& server, Journal& journal)
    : server_(server),
      journal_(journal),
      walk_(server.store().committed()),
      general_(server.store().quotas().general()),
      copied_(journal.length()) {
  journal_.clear_other();
}

bool Checkpoint::step() {
  bool is_over = false;
  slice_.clear();
  switch (part_) {
    case Part::kSettings:
      write_settings();
      break;
    case Part::kNodes:
      write_nodes();
      break;
    case Part::kDomains:
      write_domains();
      break;
    case Part::kTargets:
      write_targets();
      break;
    case Part::kRecords:
      is_over = write_records();
      break;
  }
  if (!journal_.append_to_other(slice_)) {
    log::error("no room for a checkpoint: the journal stays as long as it is");
    journal_.clear_other();
    return false;
  }
  if (is_over) journal_.switch_over();
  return !is_over;
}

void Checkpoint::add_request(uint16_t type, DomId domid, std::initializer_list<std::string_view> strings,
                             std::string_view rest) {
  payload_.clear();
  for (const std::string_view string : strings) payload_.append(string).push_back('\0');
  payload_.append(rest);
  append_record(slice_, type, domid, payload_);
}

void Checkpoint::add_perms(std::string_view name, const Perms& perms) {
  std::string text;
  append_perms(text, perms, server_.store().released());
  add_request(XS_SET_PERMS, kDom0, {name}, text);
}

void Checkpoint::write_settings() {
  for (const QuotaName& quota : kQuotas) {
    add_request(kXsSetQuota, kDom0, {quota.name, fmt::to_string(general_.*quota.hard)});
    if (quota.soft != nullptr) {
      add_request(kXsSetQuota, kDom0,
                  {fmt::format("{}{}", kSoftPrefix, quota.name), fmt::to_string(general_.*quota.soft)});
    }
  }
  for (const auto& [name, perms] : server_.specials().all()) add_perms(name, *perms);
  // Domains may have settings before they are introduced.
  for (const auto& [domid, features] : server_.features()) {
    add_request(kXsSetFeature, kDom0, {fmt::to_string(domid), fmt::to_string(features)});
  }
  for (const auto& [domid, own] : server_.store().quotas().all_own()) write_own_quotas(domid, own);
  // What a store begins with.
  add_request(XS_RM, kDom0, {"/tool"});
  part_ = Part::kNodes;
}

void Checkpoint::write_own_quotas(DomId domid, const Quota& own) {
  for (const QuotaName& quota : kQuotas) {
    for (const auto limit : {quota.hard, quota.soft}) {
      if (limit == nullptr || own.*limit == general_.*limit) continue;
      const std::string name = fmt::format("{}{}", limit == quota.hard ? "" : kSoftPrefix, quota.name);
      add_request(kXsSetQuota, kDom0, {fmt::to_string(domid), name, fmt::to_string(own.*limit)});
    }
  }
}

void Checkpoint::write_nodes() {
  for (unsigned nodes = 0; nodes < kNodesPerStep; ++nodes) {
    const Node* node = walk_.next();
    if (node == nullptr) {
      walk_ = TreeWalk(Tree{});
      part_ = Part::kDomains;
      return;
    }
    const std::string_view path = walk_.path();
    const size_t depth = path.size() == 1 ? 0 : static_cast<size_t>(std::count(path.begin(), path.end(), '/'));
    line_.resize(depth);
    const auto number = [&](size_t value) {
      const auto encoded = static_cast<uint16_t>(value);
      payload_.append(reinterpret_cast<const char*>(&encoded), sizeof encoded);
    };
    payload_.clear();
    number(depth);
    number(node->name.size());
    payload_.append(std::string_view(node->name)).append(std::string_view(node->value));
    append_record(slice_, kNodeRecord, kDom0, payload_);
    if (depth == 0 || line_.back() != node->perms.get()) {
      payload_.clear();
      append_perms(payload_, *node->perms, server_.store().released());
      append_record(slice_, kPermsRecord, kDom0, payload_);
    }
    line_.push_back(node->perms.get());
  }
}

void Checkpoint::write_domains() {
  for (unsigned domids = 0; domids < kDomidsPerStep; ++domids, ++next_domid_) {
    if (next_domid_ >= kDomIdCount) {
      part_ = Part::kTargets;
      return;
    }
    const auto domain = server_.domains().find(next_domid_);
    if (domain != server_.domains().end()) write_domain(next_domid_, domain->second);
  }
}

void Checkpoint::write_domain(DomId domid, const Server::Domain& domain) {
  add_request(XS_INTRODUCE, kDom0, {fmt::to_string(domid), fmt::to_string(domain.gfn), fmt::to_string(domain.port)});
  // The general ones may have changed before it was introduced.
  write_own_quotas(domid, server_.store().quotas().of(domid));
  if (domain.is_shut_down) append_record(slice_, kShutDownRecord, domid, {});
  const Connection& connection = domain.transport->connection();
  connection.for_each_watch([&](const Watch& watch) {
    const std::string_view given = std::string_view(watch.path).substr(watch.relative_bytes);
    if (watch.depth == kAnyDepth) {
      add_request(XS_WATCH, domid, {given, watch.token});
    } else {
      add_request(XS_WATCH, domid, {given, watch.token, fmt::to_string(watch.depth)});
    }
  });
  connection.for_each_transaction(
      [&](uint32_t id) { append_record(slice_, XS_TRANSACTION_START, domid, fmt::to_string(id)); });
  append_record(slice_, kRingRecord, domid, domain.transport->progress().encode());
}

void Checkpoint::write_targets() {
  for (const auto& [domid, domain] : server_.domains()) {
    for (const DomId holder : domain.targeted_by) {
      add_request(XS_SET_TARGET, kDom0, {fmt::to_string(holder), fmt::to_string(domid)});
    }
  }
  part_ = Part::kRecords;
}

// True: all that is valid now has been added.
bool Checkpoint::write_records() {
  const std::string_view left = journal_.contents().substr(copied_);
  const std::string_view slice = left.size() <= kBytesAtOnce ? left : left.substr(0, kBytesPerStep);
  slice_ = slice;
  copied_ += slice.size();
  return slice.size() == left.size();
}

bool JournalKeeper::work() {
  if (!checkpoint_) {
    if (journal_.length() < shortest_ + shortest_ / 2 + kShortJournal) return false;
    checkpoint_.emplace(server_, journal_);
  }
  if (checkpoint_->step()) return true;
  checkpoint_.reset();
  shortest_ = journal_.length();
  return false;
}

}  // namespace xenopolis::xenstore
