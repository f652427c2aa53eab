// The language of xl's configuration files: KEY = VALUE lines, as libxlutil reads them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/problems.h"
#include "config/settings.h"

namespace xenopolis::config {

// Far more than a domain's configuration needs. With it the work of += , which copies, stays small.
inline constexpr size_t kMostXlConfigBytes = 64 * 1024;

// The settings of `text` and then of `overrides` ("key=value", "key+=value"), one for each key, in the
// order of their lines. Adds to `problems` what
// cannot be read; then there are none.
std::vector<Setting> parse_xl_syntax(std::string_view text, const std::string& filename,
                                     const std::vector<std::string>& overrides, Problems& problems);

}  // namespace xenopolis::config
