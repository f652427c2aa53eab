// Keeps the journal short: writes what is still true into its other region, a slice at a time between requests, and
// changes over.
//
// The nodes are those of one moment: a version of the tree is held. Domains are written as they are when their turn
// comes. Then follow the records made since that moment, so those may say once more what a domain's state says already:
// repeating them changes nothing (recovery.cc).
#pragma once

#include <memory>
#include <optional>

#include "xenstore/server.h"
#include "xenstore/tree_walk.h"

namespace xenopolis::xenstore {

class Checkpoint {
 public:
  Checkpoint(const Server& server, Journal& journal);

  // A slice: some hundred nodes or domains, or 1 MiB of records. False: it is over.
  bool step();

 private:
  enum class Part : uint8_t { kSettings, kNodes, kDomains, kTargets, kRecords };

  void write_settings();
  void write_nodes();
  void write_domains();
  void write_domain(DomId domid, const Server::Domain& domain);
  void write_own_quotas(DomId domid, const Quota& own);
  void write_targets();
  bool write_records();
  void add_request(uint16_t type, DomId domid, std::initializer_list<std::string_view> strings,
                   std::string_view rest = {});
  void add_perms(std::string_view name, const Perms& perms);

  const Server& server_;
  Journal& journal_;
  Part part_ = Part::kSettings;
  TreeWalk walk_;
  std::vector<const Perms*> line_;  // rights of the nodes from the root to the one that was written last
  DomId next_domid_ = 1;
  const Quota general_;  // as it was in the beginning: what a domain of which nothing else is said will have
  uint64_t copied_;      // of the journal's records: those before are in the nodes
  std::string slice_;
  std::string payload_;
};

// When a checkpoint is due, and takes it.
class JournalKeeper {
 public:
  // `journal` is what `server` continues from. Both must outlive this.
  JournalKeeper(const Server& server, Journal& journal) : server_(server), journal_(journal) {}

  // Between requests. True: there is more to do at once.
  bool work();

 private:
  const Server& server_;
  Journal& journal_;
  uint64_t shortest_ = 0;  // its length after the last checkpoint
  std::optional<Checkpoint> checkpoint_;
};

}  // namespace xenopolis::xenstore
