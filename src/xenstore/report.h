// What domains and the whole daemon hold, for the operator.
#pragma once

#include <string>

#include "xenstore/accounts.h"
#include "xenstore/error.h"

namespace xenopolis::xenstore {

class Server;

// What the domain has now of what has a quota; 0 for what is counted for one request only.
Accounts accounts_of(const Server& server, DomId domid);

// A table in lines. Walks all nodes, watches and domains: for the operator only.
std::string memory_report(const Server& server);

XsStatus append_to_file(const std::string& path, std::string_view text);

}  // namespace xenopolis::xenstore
