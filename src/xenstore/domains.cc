// The domains that the daemon talks to.
#include <fmt/format.h>

#include <array>

#include "base/check.h"
#include "base/fault_point.h"
#include "xenstore/server.h"

namespace xenopolis::xenstore {
namespace {

constexpr std::string_view kOk("OK\0", 3);

// A domain that can be introduced, released or resumed: neither Dom0 nor a reserved number.
XsResult<DomId> parse_guest(std::string_view text) {
  uint32_t domid = 0;
  if (!parse_decimal(text, domid) || domid == kDom0 || domid >= kDomIdCount) return xs_fail(XsError::kInval);
  return static_cast<DomId>(domid);
}

}  // namespace

Server::Server(DomainLink* link, const Quota& quota, const Clock* clock)
    : link_(link),
      store_(quota),
      turns_(clock != nullptr ? *clock : monotonic_clock_),
      specials_(store_.make_perms({{kDom0, kAccessNone}})) {}

Server::~Server() = default;

void Server::domain_event(DomId domid) {
  const auto domain = domains_.find(domid);
  if (domain != domains_.end()) ready_.push(*domain->second.transport);
}

// Without a ring.
Server::Domain& Server::add_domain(DomId domid) {
  auto transport =
      std::make_unique<RingTransport>(*this, watches_, ready_, Subject{domid, std::nullopt, is_repeating_}, journal_);
  transport->connection().limit_unread_replies(store_.quotas().own(domid).outstanding);
  return domains_.emplace(domid, Domain{std::move(transport), {}}).first->second;
}

XsStatus Server::introduce(Request& request) {
  std::array<std::string_view, 3> strings;
  if (split_strings(request.payload, strings) < strings.size()) return xs_fail(XsError::kInval);
  const DomId domid = TRY(parse_guest(strings[0]));
  Gfn gfn = 0;
  Port port = 0;
  if (!parse_decimal(strings[1], gfn) || !parse_decimal(strings[2], port) || port == 0) return xs_fail(XsError::kInval);
  if (is_repeating_) {
    Domain& domain = domain_again(domid);
    if (domain.gfn == gfn && domain.port == port) return {};
    domain.transport->detach();
    domain.gfn = gfn;
    domain.port = port;
    return {};
  }
  if (link_ == nullptr) return xs_fail(XsError::kNoSys);
  const auto known = domains_.find(domid);
  const bool is_known = known != domains_.end();
  // Once more from a toolstack that missed the reply.
  if (is_known && known->second.transport->is_attached() && known->second.gfn == gfn && known->second.port == port) {
    request.connection.reply(request.header, {kOk});
    return {};
  }
  if (is_known) known->second.transport->detach();  // the same channel cannot be bound twice
  AttachedRing ring = TRY(link_->attach(domid, gfn, port));
  CHECK(ring.page != nullptr && ring.port != nullptr);
  fault_point("introduce: bound");
  ring.features = features_of(domid);
  Domain& domain = is_known ? known->second : add_domain(domid);
  domain.gfn = gfn;
  domain.port = port;
  if (is_known) {
    domain.transport->reattach(std::move(ring));
  } else {
    domain.transport->attach(std::move(ring));
  }
  // Before the guest can hear anything; and only if there is something new: how far the ring before had come is
  // forgotten (recovery.cc).
  if (journal_ != nullptr) {
    journal_->add(XS_INTRODUCE, kDom0, request.payload);
    (void)journal_->commit();
  }
  domain.transport->start();
  if (!is_known) {
    ready_.push(*domain.transport);  // it may have written before we listened
    fire_special(kIntroduceDomain, domid);
  }
  request.connection.reply(request.header, {kOk});
  return {};
}

XsStatus Server::forget(DomId domid) {
  const auto domain = domains_.find(domid);
  if (domain == domains_.end()) {
    forget_settings(domid);
    return xs_fail(XsError::kNoEnt);
  }
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
  fault_point("release: closed");
  std::vector<Change> changes;
  store_.release_domain(domid, changes);
  fire_changes(std::move(changes), domid);
  fire_special(kReleaseDomain, domid);
  forget_settings(domid);
  return {};
}

XsStatus Server::release(DomId domid) {
  TRY_VOID(forget(domid));
  if (journal_ != nullptr) {
    const fmt::format_int text(domid);
    journal_->add(XS_RELEASE, kDom0, std::string_view(text.c_str(), text.size() + 1));
    (void)journal_->commit();
  }
  return {};
}

// What was said of a domain's number must not hold for the next one of that number.
void Server::forget_settings(DomId domid) {
  store_.quotas().forget(domid);
  features_.erase(domid);
  maxima_.forget(domid);
  over_soft_quota_.erase(domid);
  specials_.forget(domid, store_.make_perms({{kDom0, kAccessNone}}));
}

XsStatus Server::shut_down(DomId domid) {
  const auto domain = domains_.find(domid);
  if (domain == domains_.end()) return xs_fail(XsError::kNoEnt);
  if (std::exchange(domain->second.is_shut_down, true)) return {};
  if (journal_ != nullptr) {
    journal_->add(kShutDownRecord, domid, {});
    (void)journal_->commit();
  }
  fire_special(kReleaseDomain, domid);
  return {};
}

XsStatus Server::release_request(Request& request) {
  std::string_view text;
  if (!is_one_string(request.payload, text)) return xs_fail(XsError::kInval);
  const DomId domid = TRY(parse_guest(text));
  TRY_VOID(forget(domid));
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

// "Arranges that @releaseDomain events will once more be generated when the domain becomes shut down."
XsStatus Server::resume(Request& request) {
  std::string_view text;
  if (!is_one_string(request.payload, text)) return xs_fail(XsError::kInval);
  const auto domain = domains_.find(TRY(parse_guest(text)));
  if (domain == domains_.end()) return xs_fail(XsError::kNoEnt);
  domain->second.is_shut_down = false;
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
