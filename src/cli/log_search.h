// The log files of all consoles as lines: of domains that are gone, too.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace xenopolis::cli {

// A log and what was rotated away from it.
struct Log {
  std::string source;              // "web", or "web:1": of a further console
  std::vector<std::string> files;  // paths, the oldest first
};

// Of domains whose name matches a pattern, or of all if there is none; by name.
Result<std::vector<Log>> find_logs(const std::string& directory, const std::vector<std::string>& patterns);

// Visits the lines that were written at `since_ms` or later. A line without a stamp has the time of the line before it,
// the first ones that of the file's last change. `goes_on` is asked now and then: false ends the search.
Status read_log(const Log& log, uint64_t since_ms, const std::function<void(std::string_view, uint64_t)>& visit,
                const std::function<bool()>& goes_on);

}  // namespace xenopolis::cli
