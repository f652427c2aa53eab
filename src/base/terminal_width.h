#pragma once

#include <cstddef>

namespace xenopolis {

// Columns of the terminal `fd`, at least 1; 80 where it does not say.
size_t terminal_width(int fd);

}  // namespace xenopolis
