// What one unprivileged domain may hold. Dom0 is exempt. Names, order and defaults are those of Xen's C xenstored.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "xen_abi/xen.h"

namespace xenopolis::xenstore {

// Limits; 0 means that there is none.
struct Quota {
  uint32_t nodes = 1000;
  uint32_t watches = 128;
  uint32_t outstanding = 20;               // replies that the domain has not taken yet; with more it is not read from
  uint32_t memory = 2560 * 1024;           // bytes of its nodes and watches
  uint32_t soft_memory = 2 * 1024 * 1024;  // with more the log tells the operator
  uint32_t transactions = 10;
  uint32_t nodes_per_transaction = 1024;  // nodes read plus changes made
  uint32_t perms_per_node = 5;
  uint32_t path_bytes = XENSTORE_REL_PATH_MAX;  // of a path, without "/local/domain/<domid>/"
  uint32_t entry_bytes = 2048;                  // of a node's record: see entry_bytes()

  // Ours: xenstored has but the limit of memory for these. They have no name and cannot be set.
  uint32_t watch_bytes = 64 * 1024;             // of all paths and tokens
  uint32_t bytes_per_transaction = 256 * 1024;  // of paths and values

  static constexpr Quota none() { return {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}; }
  bool operator==(const Quota&) const = default;
};

// Whether `value` is too much. It may be negative: a transaction may have removed what somebody else removed meanwhile
// (XSA-440).
inline bool exceeds(uint32_t limit, int64_t value) {
  return limit != 0 && value > static_cast<int64_t>(limit);
}

// What can be named in GET_QUOTA, SET_QUOTA and CONTROL.
struct QuotaName {
  std::string_view name;
  std::string_view description;
  uint32_t Quota::*hard;
  uint32_t Quota::*soft;  // nullptr: there is only the hard one
};
inline constexpr size_t kQuotaNames = 9;
extern const std::array<QuotaName, kQuotaNames> kQuotas;
inline constexpr std::string_view kSoftPrefix = "soft-";

// The limit that "nodes" or "soft-memory" names, or nullptr.
uint32_t Quota::*find_quota(std::string_view name);
// The same where a command says whether it means the soft ones.
uint32_t Quota::*find_quota(std::string_view name, bool is_soft);

// The limits of every domain. A domain keeps the general ones of the time when it was first heard of, until it is gone:
// "the initial quota settings for a domain are the global ones" (xenstore.txt, SET_QUOTA).
class QuotaTable {
 public:
  explicit QuotaTable(const Quota& general = {}) : general_(general) {}

  const Quota& general() const { return general_; }
  Quota& general() { return general_; }
  const Quota& of(DomId domid) const {
    static const Quota none = Quota::none();
    if (is_suspended_) return none;
    const auto own = own_.find(domid);
    return own == own_.end() ? general_ : own->second;
  }
  // From now on `domid` has limits of its own.
  Quota& own(DomId domid) { return own_.try_emplace(domid, general_).first->second; }
  void forget(DomId domid) { own_.erase(domid); }
  // While suspended no domain has a limit.
  void suspend(bool suspended) { is_suspended_ = suspended; }

  // All that have their own, in any order: (domid, quota).
  const std::unordered_map<DomId, Quota>& all_own() const { return own_; }

 private:
  Quota general_;
  std::unordered_map<DomId, Quota> own_;  // at most kDomIdCount
  bool is_suspended_ = false;
};

// The size that xenstored's records have: a header (generation and three lengths, padded), 8 bytes for each right, the
// value and the children's names.
inline constexpr size_t kEntryHeaderBytes = 24;
inline constexpr size_t kEntryPermBytes = 8;
inline size_t entry_bytes(size_t perms, size_t value_bytes, size_t name_bytes) {
  return kEntryHeaderBytes + perms * kEntryPermBytes + value_bytes + name_bytes;
}

}  // namespace xenopolis::xenstore
