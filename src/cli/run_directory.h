// Where a host has its sockets and logs.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace xenopolis::cli {

// `option` if it is not empty, else $POLIS_RUN_DIR, else $XDG_RUNTIME_DIR/xenopolis/default, else
// /run/xenopolis/default.
std::string run_directory(const std::string& option);

// An error, with what to do about it, when no polisd listens in that directory.
Status find_host(const std::string& run_directory);

}  // namespace xenopolis::cli
