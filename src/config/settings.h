// What a configuration says, whatever it is written in: keys of xl.cfg(5) with their values and where they stand.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/problems.h"
#include "toolstack/domain_spec.h"

namespace xenopolis::config {

struct Setting {
  std::string key;
  std::string where;                 // "FILE:LINE" or "command line"
  std::optional<std::string> value;  // numbers as they were written; nothing: it is a list
  size_t items = 0;                  // of the list
  bool added = false;                // by +=
};

// What the settings ask for; of several of one key the last counts. Adds to `problems` whatever is wrong, and what is
// not there at `source`: the result is of use only if nothing was added.
toolstack::DomainSpec to_spec(const std::vector<Setting>& settings, const std::string& source,
                              const std::string& directory, Problems& problems);

}  // namespace xenopolis::config
