// What xenstore says of a host's domains.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "xen_abi/xen.h"

namespace xenopolis::cli {

struct StoreView {
  std::set<std::string> homes;          // children of /local/domain
  std::set<std::string> private_homes;  // of /libxl
  std::set<std::string> machines;       // of /vm
  std::set<std::string> consoles;       // of /local/domain/0/backend/console
  std::set<DomId> introduced;
  std::map<std::string, std::string> values;  // of those paths that were asked for, and are there
};

// All requests are under way at once. `highest`: domids up to it are asked for as introduced. ETIMEDOUT: nothing was
// answered for some seconds.
Result<StoreView> look_into_xenstore(EventLoop& loop, const std::string& socket_path,
                                     const std::vector<std::string>& paths, DomId highest);

}  // namespace xenopolis::cli
