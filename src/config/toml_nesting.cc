#include "config/toml_nesting.h"

#include <algorithm>

namespace xenopolis::config {
namespace {

// Behind the string that begins at `at`: "...", '...', """...""" or '''...'''.
size_t skip_string(std::string_view toml, size_t at) {
  const char quote = toml[at];
  const std::string_view fence = quote == '"' ? R"(""")" : "'''";
  const bool is_long = toml.substr(at).starts_with(fence);
  at += is_long ? 3 : 1;
  while (at < toml.size()) {
    if (toml[at] == '\\' && quote == '"') {
      at += 2;
    } else if (is_long && toml.substr(at).starts_with(fence)) {
      at += 3;
      // Up to two more quotes belong to the text.
      while (at < toml.size() && toml[at] == quote) ++at;
      return at;
    } else if (!is_long && (toml[at] == quote || toml[at] == '\n')) {
      return toml[at] == quote ? at + 1 : at;
    } else {
      ++at;
    }
  }
  return toml.size();
}

}  // namespace

size_t line_nested_deeper(std::string_view toml, size_t most) {
  size_t depth = 0, dots = 0, line = 1;
  for (size_t at = 0; at < toml.size();) {
    const char c = toml[at];
    if (c == '"' || c == '\'') {
      const size_t end = skip_string(toml, at);
      line += static_cast<size_t>(std::count(toml.begin() + static_cast<ptrdiff_t>(at),
                                             toml.begin() + static_cast<ptrdiff_t>(std::min(end, toml.size())), '\n'));
      at = end;
      continue;
    }
    if (c == '#') {
      at = std::min(toml.find('\n', at), toml.size());
      continue;
    }
    if (c == '\n') {
      ++line;
      dots = 0;
    }
    if (c == '.') ++dots;
    if (c == '[' || c == '{') ++depth;
    if ((c == ']' || c == '}') && depth > 0) --depth;
    if (depth + dots > most) return line;
    ++at;
  }
  return 0;
}

}  // namespace xenopolis::config
