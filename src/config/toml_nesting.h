#pragma once

#include <cstddef>
#include <string_view>

namespace xenopolis::config {

// The first line of a TOML text on which values, or tables by their dotted keys, are nested deeper than `most`; 0: none
// is. For parsers that recurse: they see no deeper nesting than this does, up to the first error in the text.
size_t line_nested_deeper(std::string_view toml, size_t most);

}  // namespace xenopolis::config
