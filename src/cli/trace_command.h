// polis trace: what one domain does.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace xenopolis::cli {

struct TraceOptions {
  std::string run_directory;
  std::string domain;
  std::string filter;  // empty: everything
  bool summary = false;
  bool times = false;
  bool json = false;
  uint64_t limit = 0;     // so many records; 0: no limit
  double duration_s = 0;  // so long; 0: no limit
};

// The exit status.
Result<int> run_trace(const TraceOptions& options);

}  // namespace xenopolis::cli
