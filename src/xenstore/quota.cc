#include "xenstore/quota.h"

namespace xenopolis::xenstore {

// Names and descriptions: what `xenstore-control quota` shows with Xen's own daemon.
const std::array<QuotaName, kQuotaNames> kQuotas{{
    {"nodes", "Nodes per domain", &Quota::nodes, nullptr},
    {"watches", "Watches per domain", &Quota::watches, nullptr},
    {"outstanding", "Outstanding requests per domain", &Quota::outstanding, nullptr},
    {"memory", "Total Xenstore memory per domain", &Quota::memory, &Quota::soft_memory},
    {"transactions", "Active transactions per domain", &Quota::transactions, nullptr},
    {"transaction-nodes", "Max. number of accessed nodes per transaction", &Quota::nodes_per_transaction, nullptr},
    {"node-permissions", "Max. number of permissions per node", &Quota::perms_per_node, nullptr},
    {"path-max", "Max. length of a node path", &Quota::path_bytes, nullptr},
    {"node-size", "Max. size of a node", &Quota::entry_bytes, nullptr},
}};

uint32_t Quota::*find_quota(std::string_view name, bool is_soft) {
  for (const QuotaName& known : kQuotas) {
    if (known.name == name) return is_soft ? known.soft : known.hard;
  }
  return nullptr;
}

uint32_t Quota::*find_quota(std::string_view name) {
  const bool is_soft = name.starts_with(kSoftPrefix);
  if (is_soft) name.remove_prefix(kSoftPrefix.size());
  return find_quota(name, is_soft);
}

}  // namespace xenopolis::xenstore
