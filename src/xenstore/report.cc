#include "xenstore/report.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <map>

#include "base/fd.h"
#include "xenstore/server.h"

namespace xenopolis::xenstore {
namespace {

constexpr mode_t kFileMode = 0600;

struct NodeSums {
  uint64_t nodes = 0;
  uint64_t name_bytes = 0;
  uint64_t value_bytes = 0;
};

// As deep as the tree, which kAbsolutePathMax bounds.
void add_up(const Node& node, NodeSums& sums) {
  ++sums.nodes;
  sums.name_bytes += node.name.size();
  sums.value_bytes += node.value.size();
  node.children.for_each([&](const Node& child) { add_up(child, sums); });
}

}  // namespace

Accounts accounts_of(const Server& server, DomId domid) {
  Accounts accounts{};
  const auto set = [&](Account account, uint64_t value) {
    accounts[static_cast<size_t>(account)] = static_cast<uint32_t>(value);
  };
  const Holding held = server.store().held_by(domid);
  uint64_t memory = static_cast<uint64_t>(held.bytes);
  set(Account::kNodes, static_cast<uint64_t>(held.nodes));
  if (const auto domain = server.domains().find(domid); domain != server.domains().end()) {
    const Connection& connection = std::as_const(*domain->second.transport).connection();
    memory += connection.watch_bytes();
    set(Account::kWatches, connection.watch_count());
    set(Account::kOutstanding, connection.unread_replies());
    set(Account::kTransactions, connection.transaction_count());
  }
  set(Account::kMemory, memory);
  return accounts;
}

std::string memory_report(const Server& server) {
  NodeSums sums;
  add_up(*server.store().committed().root, sums);
  std::string text = fmt::format(
      "xenstore memory report\n"
      "nodes: {}, {} bytes of names, {} bytes of values, {} bytes for their structure\n"
      "watches: {}\ndomains: {}\n",
      sums.nodes, sums.name_bytes, sums.value_bytes, sums.nodes * sizeof(Node), server.watches().size(),
      server.domains().size());
  const std::map<DomId, Store::Owned> owners = [&] {
    std::map<DomId, Store::Owned> sorted;
    for (const auto& [domid, owned] : server.store().owners()) sorted[domid] = {owned.nodes, owned.bytes, {}};
    for (const auto& [domid, domain] : server.domains()) sorted[domid];
    return sorted;
  }();
  text += fmt::format("{:>6} {:>8} {:>10} {:>8} {:>8} {:>8} {:>8}\n", "domain", "nodes", "bytes", "watches", "bytes",
                      "trans.", "unread");
  for (const auto& [domid, owned] : owners) {
    size_t watches = 0, watch_bytes = 0, transactions = 0, unread = 0;
    if (const auto domain = server.domains().find(domid); domain != server.domains().end()) {
      const Connection& connection = std::as_const(*domain->second.transport).connection();
      watches = connection.watch_count();
      watch_bytes = connection.watch_bytes();
      transactions = connection.transaction_count();
      unread = connection.output().size();
    }
    text += fmt::format("{:>6} {:>8} {:>10} {:>8} {:>8} {:>8} {:>8}\n", domid, owned.nodes, owned.bytes, watches,
                        watch_bytes, transactions, unread);
  }
  return text;
}

XsStatus append_to_file(const std::string& path, std::string_view text) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, kFileMode));
  if (!file) return xs_fail(errno == EACCES ? XsError::kAcces : errno == ENOENT ? XsError::kNoEnt : XsError::kIo);
  while (!text.empty()) {
    const ssize_t written = write(file.get(), text.data(), text.size());
    if (written <= 0) return xs_fail(errno == ENOSPC ? XsError::kNoSpc : XsError::kIo);
    text.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace xenopolis::xenstore
