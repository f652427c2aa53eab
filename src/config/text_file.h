#pragma once

#include <string>

#include "base/result.h"

namespace xenopolis::config {

// All of a file. E2BIG: more than `most` bytes; EISDIR and the like.
Result<std::string> read_text(const std::string& path, size_t most);
// The same of a file or, where the path is "-", of standard input.
Result<std::string> read_text_or_input(const std::string& path, size_t most);

}  // namespace xenopolis::config
