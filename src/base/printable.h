// Text of others on its way to a terminal or a log.
#pragma once

#include <string>
#include <string_view>

namespace xenopolis {

// As `text`, but what could steer a terminal, or pretend to be another line, is a question mark: control characters
// (C0 but the tab, DEL, C1 also as UTF-8 has them) and what is no UTF-8.
std::string printable(std::string_view text);
// The same, and lines may end.
std::string printable_lines(std::string_view text);

}  // namespace xenopolis
