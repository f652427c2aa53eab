// Special names, "@introduceDomain" and "@releaseDomain": no nodes, but what watches can be set on, with rights that
// say who hears of them. A third one is ours, "@clientWatch", of which only Dom0's clients hear.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "xenstore/perms.h"
#include "xenstore/watch.h"

namespace xenopolis::xenstore {

inline constexpr std::string_view kIntroduceDomain = "@introduceDomain";
inline constexpr std::string_view kReleaseDomain = "@releaseDomain";
// Fires for each WATCH of another client of Dom0, with the path that is watched: xenconsole watches a console's "tty" and
// waits for a terminal, which can so be made when it is asked for. No right opens it to guests, so it has none.
inline constexpr std::string_view kClientWatch = "@clientWatch";

// "@releaseDomain/7".
std::string special_of_domain(std::string_view name, DomId domid);

class SpecialNames {
 public:
  // `initial`: the rights of both names.
  explicit SpecialNames(const PermsRef& initial);

  // Whether this is one of both names, or one of them with a domain.
  static bool is_known(std::string_view name);

  // The rights of a known name: those of "@releaseDomain/7" are its own if somebody said some, else "@releaseDomain"'s.
  const PermsRef& perms_of(std::string_view name) const;
  void set_perms(std::string_view name, PermsRef perms);

  // The domain is gone, and with it the names with its number and what it owned of the others.
  void forget(DomId domid, const PermsRef& initial);

  // Every name that has rights of its own, in any order.
  const StringMap<PermsRef>& all() const { return perms_; }

 private:
  StringMap<PermsRef> perms_;  // at most two names, and two for each domid
};

}  // namespace xenopolis::xenstore
