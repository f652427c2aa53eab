#include "xenstore/special.h"

#include <fmt/format.h>

#include "base/check.h"
#include "xenstore/wire.h"

namespace xenopolis::xenstore {
namespace {

constexpr std::array kNames{kIntroduceDomain, kReleaseDomain};

std::string_view without_domain(std::string_view name) {
  return name.substr(0, name.find('/'));
}

}  // namespace

std::string special_of_domain(std::string_view name, DomId domid) {
  return fmt::format("{}/{}", name, domid);
}

SpecialNames::SpecialNames(const PermsRef& initial) {
  for (const std::string_view name : kNames) perms_.emplace(std::string(name), initial);
}

bool SpecialNames::is_known(std::string_view name) {
  for (const std::string_view known : kNames) {
    if (!name.starts_with(known)) continue;
    std::string_view rest = name.substr(known.size());
    if (rest.empty()) return true;
    DomId domid = 0;
    // Written as in events, so that there is one name for each domain.
    return rest.front() == '/' && parse_decimal(rest.substr(1), domid) && domid < kDomIdCount &&
           name == special_of_domain(known, domid);
  }
  return false;
}

const PermsRef& SpecialNames::perms_of(std::string_view name) const {
  auto found = perms_.find(name);
  if (found == perms_.end()) found = perms_.find(without_domain(name));
  CHECK(found != perms_.end());
  return found->second;
}

void SpecialNames::set_perms(std::string_view name, PermsRef perms) {
  perms_.insert_or_assign(std::string(name), std::move(perms));
}

void SpecialNames::forget(DomId domid, const PermsRef& initial) {
  for (const std::string_view name : kNames) {
    perms_.erase(special_of_domain(name, domid));
    PermsRef& perms = perms_.find(name)->second;
    if (perms->owner() == domid) perms = initial;
  }
}

}  // namespace xenopolis::xenstore
