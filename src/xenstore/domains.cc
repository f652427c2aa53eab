// The domains that the daemon talks to, and who is told of what.
#include <array>

#include "base/check.h"
#include "xenstore/server.h"

namespace xenopolis::xenstore {
namespace {

constexpr std::string_view kOk("OK\0", 3);
constexpr std::string_view kIntroduced = "@introduceDomain";
constexpr std::string_view kReleased = "@releaseDomain";

// A domain that can be introduced, released or resumed: neither Dom0 nor a reserved number.
XsResult<DomId> parse_guest(std::string_view text) {
  uint32_t domid = 0;
  if (!parse_decimal(text, domid) || domid == kDom0 || domid >= kDomIdCount) return xs_fail(XsError::kInval);
  return static_cast<DomId>(domid);
}

}  // namespace

Server::Server(DomainLink* link, const Quota& quota) : link_(link), store_(quota) {
  for (const std::string_view name : {kIntroduced, kReleased}) {
    special_perms_.emplace(std::string(name), store_.make_perms({{kDom0, kAccessNone}}));
  }
}

Server::~Server() = default;

void Server::domain_event(DomId domid) {
  const auto domain = domains_.find(domid);
  if (domain != domains_.end()) ready_.push(*domain->second.transport);
}

// A client learns of a change if it may read the node, before or after the change, or the node's parent. Each event
// says the path that changed; of a removed subtree those who watch its root or above hear once, and those who watch
// something within hear of that.
void Server::fire_changes(const std::vector<Change>& changes) {
  const auto may_read = [&](const Watch& watch, const Perms* perms) {
    return perms != nullptr && (access_of(*perms, watch.connection.subject(), store_.released()) & kAccessRead) != 0;
  };
  for (const Change& change : changes) {
    watches_.for_each_matching(change.path, [&](Watch& watch) {
      if (may_read(watch, change.old_perms.get()) || may_read(watch, change.perms.get()) ||
          may_read(watch, change.parent_perms.get())) {
        watch.connection.fire(watch, change.path);
      }
    });
    if (!change.removed) continue;
    watches_.for_each_removed(change.path, *change.removed, [&](Watch& watch, const Node& node, const Node& parent) {
      if (may_read(watch, node.perms.get()) || may_read(watch, parent.perms.get())) {
        watch.connection.fire(watch, watch.path);
      }
    });
  }
}

void Server::fire_special(std::string_view name) {
  const PermsRef perms = special_perms_.find(name)->second;
  watches_.for_each_matching(name, [&](Watch& watch) {
    if ((access_of(*perms, watch.connection.subject(), store_.released()) & kAccessRead) != 0) {
      watch.connection.fire(watch, name);
    }
  });
}

XsStatus Server::introduce(Request& request) {
  std::array<std::string_view, 3> strings;
  if (split_strings(request.payload, strings) < strings.size()) return xs_fail(XsError::kInval);
  const DomId domid = TRY(parse_guest(strings[0]));
  Gfn gfn = 0;
  Port port = 0;
  if (!parse_decimal(strings[1], gfn) || !parse_decimal(strings[2], port) || port == 0) return xs_fail(XsError::kInval);
  if (link_ == nullptr) return xs_fail(XsError::kNoSys);
  const auto known = domains_.find(domid);
  if (known != domains_.end()) known->second.transport->detach();  // the same channel cannot be bound twice
  AttachedRing ring = TRY(link_->attach(domid, gfn, port));
  CHECK(ring.page != nullptr && ring.port != nullptr);
  if (known != domains_.end()) {
    known->second.transport->reattach(std::move(ring));
  } else {
    auto transport =
        std::make_unique<RingTransport>(*this, watches_, ready_, Subject{domid, std::nullopt}, std::move(ring));
    ready_.push(*transport);  // it may have written before we listened
    domains_.emplace(domid, Domain{std::move(transport), {}});
    fire_special(kIntroduced);
  }
  request.connection.reply(request.header, {kOk});
  return {};
}

XsStatus Server::release(DomId domid) {
  const auto domain = domains_.find(domid);
  if (domain == domains_.end()) return xs_fail(XsError::kNoEnt);
  for (const DomId holder : domain->second.targeted_by) {
    const auto other = domains_.find(holder);
    if (other == domains_.end()) continue;
    Subject& subject = other->second.transport->connection().subject();
    if (subject.target == domid) subject.target.reset();
  }
  if (const auto target = domain->second.transport->connection().subject().target) {
    const auto other = domains_.find(*target);
    if (other != domains_.end()) std::erase(other->second.targeted_by, domid);
  }
  domains_.erase(domain);
  std::vector<Change> changes;
  store_.release_domain(domid, changes);
  fire_changes(changes);
  fire_special(kReleased);
  return {};
}

XsStatus Server::release_request(Request& request) {
  std::string_view text;
  if (!is_one_string(request.payload, text)) return xs_fail(XsError::kInval);
  const DomId domid = TRY(parse_guest(text));
  TRY_VOID(release(domid));
  request.connection.reply(request.header, {kOk});
  return {};
}

XsStatus Server::is_domain_introduced(Request& request) {
  std::string_view text;
  uint32_t domid = 0;
  if (!is_one_string(request.payload, text) || !parse_decimal(text, domid)) return xs_fail(XsError::kInval);
  const bool introduced =
      domid == kDom0 || domid == DOMID_SELF || (domid < kDomIdCount && is_introduced(static_cast<DomId>(domid)));
  request.connection.reply(request.header, {introduced ? std::string_view("T\0", 2) : std::string_view("F\0", 2)});
  return {};
}

// Arms @releaseDomain again for a domain that had shut down. Here it fires at every release, so there is nothing to
// arm.
XsStatus Server::resume(Request& request) {
  std::string_view text;
  if (!is_one_string(request.payload, text)) return xs_fail(XsError::kInval);
  if (!is_introduced(TRY(parse_guest(text)))) return xs_fail(XsError::kNoEnt);
  request.connection.reply(request.header, {kOk});
  return {};
}

XsStatus Server::set_target(Request& request) {
  std::array<std::string_view, 2> strings;
  if (split_strings(request.payload, strings) < strings.size()) return xs_fail(XsError::kInval);
  const DomId domid = TRY(parse_guest(strings[0]));
  const DomId target = TRY(parse_guest(strings[1]));
  const auto domain = domains_.find(domid);
  const auto other = domains_.find(target);
  if (domain == domains_.end() || other == domains_.end()) return xs_fail(XsError::kNoEnt);
  Subject& subject = domain->second.transport->connection().subject();
  if (subject.target) {
    const auto old = domains_.find(*subject.target);
    if (old != domains_.end()) std::erase(old->second.targeted_by, domid);
  }
  subject.target = target;
  other->second.targeted_by.push_back(domid);
  request.connection.reply(request.header, {kOk});
  return {};
}

}  // namespace xenopolis::xenstore
