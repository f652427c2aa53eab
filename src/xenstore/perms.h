// Who may do what with a node. Rules: xenstore.txt (SET_PERMS) and XSA-322 (rights must not outlive a domain).
#pragma once

#include <algorithm>
#include <array>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "xen_abi/xen.h"
#include "xenstore/error.h"

namespace xenopolis::xenstore {

// Bits of an access.
inline constexpr uint8_t kAccessNone = 0;
inline constexpr uint8_t kAccessRead = 1;
inline constexpr uint8_t kAccessWrite = 2;
inline constexpr uint8_t kAccessOwner = 4;
inline constexpr uint8_t kAccessAll = kAccessRead | kAccessWrite | kAccessOwner;

struct PermEntry {
  DomId domid;
  uint8_t access;  // kAccessRead | kAccessWrite; of the first entry: what domains that no other entry names may do

  bool operator==(const PermEntry&) const = default;
};

// Constant after construction, shared by all nodes that inherited it. Counted without atomics: the store belongs to
// one thread.
struct Perms : boost::intrusive_ref_counter<Perms, boost::thread_unsafe_counter> {
  Perms(std::vector<PermEntry> the_entries, uint64_t made_at) : entries(std::move(the_entries)), generation(made_at) {}

  DomId owner() const { return entries.front().domid; }

  std::vector<PermEntry> entries;  // never empty; the first names the owner
  uint64_t generation;             // of the store, when somebody said these rights
};
using PermsRef = boost::intrusive_ptr<const Perms>;

// The generation at which each domid was last released: rights said before then meant a domain that is gone.
class ReleasedDomains {
 public:
  void release(DomId domid, uint64_t generation) {
    generations_[domid] = generation;
    last_ = generation;
  }
  bool outlives(const Perms& perms, DomId domid) const {
    if (generations_.empty()) return false;
    const auto released = generations_.find(domid);
    return released != generations_.end() && perms.generation < released->second;
  }
  // Whether any domain was released after `generation`; one that the rights name.
  bool any_since(uint64_t generation) const { return last_ > generation; }
  bool any_since(uint64_t generation, const Perms& perms) const {
    if (!any_since(generation)) return false;
    return std::any_of(perms.entries.begin(), perms.entries.end(), [&](const PermEntry& entry) {
      const auto released = generations_.find(entry.domid);
      return released != generations_.end() && released->second > generation;
    });
  }

 private:
  uint64_t last_ = 0;
  std::unordered_map<DomId, uint64_t> generations_;  // at most one entry a domid: kDomIdCount
};

// Gives those who say the same rights one after the other, as a toolstack does for a guest's nodes, the same object. It
// may be older than what was said now, but only if no domain that the rights name was released in between: so they mean
// the same, now and when one of these is released later (XSA-322).
class PermsCache {
 public:
  PermsRef make(std::vector<PermEntry> entries, uint64_t generation, const ReleasedDomains& released);

 private:
  std::array<PermsRef, 64> recent_;  // by hash of the entries
};

// On whose behalf a request is made.
struct Subject {
  DomId domid = kDom0;
  std::optional<DomId> target;  // SET_TARGET: whose rights it has too
  bool is_repeating = false;    // what was allowed when it was asked first: nothing is refused

  bool is_privileged() const { return domid == kDom0; }
};

// What `subject` may do with a node that has `perms`: bits.
uint8_t access_of(const Perms& perms, const Subject& subject, const ReleasedDomains& released);

// One "<letter><domid>" of SET_PERMS. kInval when it is none.
XsResult<PermEntry> parse_perm(std::string_view text);

// "n0|r5|" with nuls, without rights of domains that are gone: the payload of GET_PERMS.
void append_perms(std::string& out, const Perms& perms, const ReleasedDomains& released);

}  // namespace xenopolis::xenstore
