// What `polis info` prints, and Dom0 as a row among the domains.
#pragma once

#include <string>
#include <vector>

#include "cli/domain_list.h"
#include "cli/host_client.h"

namespace xenopolis::cli {

struct Fact {
  std::string name;
  std::string value;
};

// In xl's words where xl has one; in the order of `xl info`.
Result<std::vector<Fact>> host_facts(HostClient& client);

// Dom0 is the host's own processes: its memory is the machine's, its time that of polisd, polis-keeper and the backends
// (cells run guests, whose time is theirs).
Result<ListedDomain> describe_dom0(HostClient& client);

}  // namespace xenopolis::cli
