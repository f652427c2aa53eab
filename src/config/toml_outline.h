#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace xenopolis::config {

struct TomlFault {
  size_t line;
  std::string what;
};

// What a TOML text must not have for a parser's sake: values, or tables by their dotted keys, nested deeper than
// `most`, for parsers recurse; and characters beyond ASCII outside of strings and comments, which TOML 1.0 does not
// know there and toml++ 3.3 has undefined behaviour for. Up to the first error in the text this sees strings and
// brackets as any parser does.
std::optional<TomlFault> fault_of_outline(std::string_view toml, size_t most);

}  // namespace xenopolis::config
