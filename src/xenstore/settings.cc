// What each domain may use and how much: GET/SET_FEATURE and GET/SET_QUOTA (xenstore.txt).
#include <fmt/format.h>

#include <array>
#include <limits>

#include "xenstore/server.h"

namespace xenopolis::xenstore {
namespace {

constexpr std::string_view kOk("OK\0", 3);
// Xenstored's mark for a limit that does not exist; no value that can be set.
constexpr uint32_t kNoQuota = std::numeric_limits<uint32_t>::max();

}  // namespace

bool Server::exists(DomId domid) const {
  return domid == kDom0 || is_repeating_ ||
         (domid < kDomIdCount && (is_introduced(domid) || (link_ != nullptr && link_->exists(domid))));
}

XsResult<DomId> Server::known_domain(std::string_view text) const {
  DomId domid = 0;
  if (!parse_decimal(text, domid)) return xs_fail(XsError::kInval);
  if (!exists(domid)) return xs_fail(XsError::kNoEnt);
  return domid;
}

uint32_t Server::features_of(DomId domid) const {
  const auto found = features_.find(domid);
  return found == features_.end() ? kServerFeatures : found->second;
}

// "GET_FEATURE [<domid>|]": without <domid> what the one who asks may use.
XsStatus Server::get_feature(Request& request) {
  const Subject& subject = request.connection.subject();
  std::array<std::string_view, 1> strings;
  const size_t count = split_strings(request.payload, strings);
  DomId domid = subject.domid;
  if (count > 0) {
    if (!subject.is_privileged()) return xs_fail(XsError::kAcces);
    if (count > 1) return xs_fail(XsError::kInval);
    domid = TRY(known_domain(strings[0]));
  }
  const fmt::format_int text(features_of(domid));
  request.connection.reply(request.header, {std::string_view(text.c_str(), text.size() + 1)});
  return {};
}

// "SET_FEATURE <domid>|<value>|": before the domain is introduced, as its guest reads them once.
XsStatus Server::set_feature(Request& request) {
  std::array<std::string_view, 2> strings;
  if (split_strings(request.payload, strings) != strings.size()) return xs_fail(XsError::kInval);
  const DomId domid = TRY(known_domain(strings[0]));
  if (domid == kDom0 || (is_introduced(domid) && !is_repeating_)) return xs_fail(XsError::kBusy);
  uint32_t features = 0;
  if (!parse_decimal(strings[1], features) || (features & ~kServerFeatures) != 0) return xs_fail(XsError::kInval);
  features_.insert_or_assign(domid, features);
  request.connection.reply(request.header, {kOk});
  return {};
}

// "GET_QUOTA [[<domid>|]<quota>|]": without <quota> the names, without <domid> the limit for domains to come.
XsStatus Server::get_quota(Request& request) {
  std::array<std::string_view, 2> strings;
  const size_t count = split_strings(request.payload, strings);
  if (count > strings.size()) return xs_fail(XsError::kInval);
  reply_buffer_.clear();
  if (count == 0) {
    for (const QuotaName& quota : kQuotas) {
      if (!reply_buffer_.empty()) reply_buffer_.push_back(' ');
      reply_buffer_.append(quota.name);
      if (quota.soft != nullptr) reply_buffer_.append(" ").append(kSoftPrefix).append(quota.name);
    }
  } else {
    const Quota* limits = &store_.quotas().general();
    if (count == 2) limits = &store_.quotas().of(TRY(known_domain(strings[0])));
    const auto limit = find_quota(strings[count - 1]);
    if (limit == nullptr) return xs_fail(XsError::kInval);
    reply_buffer_ = fmt::format_int(limits->*limit).c_str();
  }
  reply_buffer_.push_back('\0');
  request.connection.reply(request.header, {reply_buffer_});
  return {};
}

// "SET_QUOTA [<domid>|]<quota>|<value>|"
XsStatus Server::set_quota(Request& request) {
  std::array<std::string_view, 3> strings;
  const size_t count = split_strings(request.payload, strings);
  if (count < 2 || count > strings.size()) return xs_fail(XsError::kInval);
  DomId domid = kDom0;
  if (count == 3) domid = TRY(known_domain(strings[0]));
  const auto limit = find_quota(strings[count - 2]);
  uint32_t value = 0;
  if (limit == nullptr || !parse_decimal(strings[count - 1], value) || value == kNoQuota) {
    return xs_fail(XsError::kInval);
  }
  if (count == 2) {
    store_.quotas().general().*limit = value;
  } else {
    store_.quotas().own(domid).*limit = value;
    if (const auto domain = domains_.find(domid); domain != domains_.end()) {
      domain->second.transport->connection().limit_unread_replies(store_.quotas().of(domid).outstanding);
    }
  }
  request.connection.reply(request.header, {kOk});
  return {};
}

}  // namespace xenopolis::xenstore
