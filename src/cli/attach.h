// Getting a line to polis-consoled for the first time, with errors that help.
#pragma once

#include <memory>
#include <string>

#include "console/client_line.h"

namespace xenopolis::cli {

// Waits some seconds for a daemon that is being started again, and for a domain that polisd knows and the daemon does
// not yet. Errors are complete sentences: there is no host, no such domain, no such console.
Result<std::unique_ptr<console::ClientLine>> attach_console(const std::string& run_directory,
                                                            const console::ClientRequest& request);

}  // namespace xenopolis::cli
