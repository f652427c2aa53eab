// polis dmesg: the hypervisor's log.
#pragma once

#include <string>

#include "base/result.h"

namespace xenopolis::cli {

struct DmesgOptions {
  std::string run_directory;
  bool follow = false;
  bool clear = false;
  bool json = false;
  std::string level = "info";  // and what is worse
  std::string domain;          // what is about it; empty: all
};

// The exit status.
Result<int> run_dmesg(const DmesgOptions& options);

}  // namespace xenopolis::cli
