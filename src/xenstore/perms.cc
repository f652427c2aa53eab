#include "xenstore/perms.h"

#include <fmt/format.h>

#include <charconv>

namespace xenopolis::xenstore {
namespace {

constexpr char kLetters[] = {'n', 'r', 'w', 'b'};  // by access bits
static_assert((kAccessRead | kAccessWrite) == 3);

}  // namespace

PermsRef PermsCache::make(std::vector<PermEntry> entries, uint64_t generation, const ReleasedDomains& released) {
  size_t hash = 0;
  for (const PermEntry& entry : entries) hash = hash * 31 + entry.domid * 4u + entry.access;
  PermsRef& recent = recent_[hash % recent_.size()];
  if (!recent || recent->entries != entries || released.any_since(recent->generation, *recent)) {
    recent = new Perms(std::move(entries), generation);
  }
  return recent;
}

uint8_t access_of(const Perms& perms, const Subject& subject, const ReleasedDomains& released) {
  if (subject.is_privileged() || subject.is_repeating) return kAccessAll;
  const auto is_subject = [&](DomId domid) {
    return (domid == subject.domid || domid == subject.target) && !released.outlives(perms, domid);
  };
  if (is_subject(perms.owner())) return kAccessAll;
  // Bounded by the payload of SET_PERMS for Dom0 and by Limits::perms_per_node for others.
  for (size_t i = 1; i < perms.entries.size(); ++i) {
    if (is_subject(perms.entries[i].domid)) return perms.entries[i].access;
  }
  return perms.entries.front().access;
}

XsResult<PermEntry> parse_perm(std::string_view text) {
  if (text.size() < 2) return xs_fail(XsError::kInval);
  PermEntry entry{};
  bool known = false;
  for (uint8_t access = 0; access < 4; ++access) {
    if (text.front() == kLetters[access]) {
      entry.access = access;
      known = true;
    }
  }
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + 1, end, entry.domid);
  if (!known || error != std::errc() || stop != end) return xs_fail(XsError::kInval);
  return entry;
}

void append_perms(std::string& out, const Perms& perms, const ReleasedDomains& released) {
  for (size_t i = 0; i < perms.entries.size(); ++i) {
    const PermEntry& entry = perms.entries[i];
    if (i > 0 && released.outlives(perms, entry.domid)) continue;
    fmt::format_to(std::back_inserter(out), "{}{}", kLetters[entry.access & 3], entry.domid);
    out.push_back('\0');
  }
}

}  // namespace xenopolis::xenstore
