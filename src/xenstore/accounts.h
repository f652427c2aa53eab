// The most that each domain has had of what has a quota: for the operator, who sets quotas by it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <unordered_map>

#include "xenstore/quota.h"

namespace xenopolis::xenstore {

// In the order of kQuotas.
enum class Account : uint8_t {
  kNodes,
  kWatches,
  kOutstanding,
  kMemory,
  kTransactions,
  kTransactionNodes,
  kNodePermissions,
  kPathBytes,
  kNodeBytes,
};
using Accounts = std::array<uint32_t, kQuotaNames>;

class Maxima {
 public:
  void note(DomId domid, Account account, uint64_t value) {
    if (domid == kDom0) return;
    uint32_t& most = domains_[domid][static_cast<size_t>(account)];
    if (value <= most) return;
    most = static_cast<uint32_t>(value);
    uint32_t& general = general_[static_cast<size_t>(account)];
    general = std::max(general, most);
  }
  const Accounts& of(DomId domid) const {
    static const Accounts none{};
    const auto found = domains_.find(domid);
    return found == domains_.end() ? none : found->second;
  }
  // Of any domain, also of those that are gone.
  const Accounts& general() const { return general_; }

  void forget(DomId domid) { domains_.erase(domid); }
  // Begins anew. Walks all domains: for the operator only.
  void reset() {
    domains_.clear();
    general_ = {};
  }

 private:
  std::unordered_map<DomId, Accounts> domains_;  // at most kDomIdCount
  Accounts general_{};
};

}  // namespace xenopolis::xenstore
