// Options on the command line: `name=value` words between blanks, or a bare `name`.
#pragma once

#include "runtime/domain.h"

namespace xenopolis::guest::option {

// The value of the first word `name=...`; empty if there is none.
Text value(Text name);
uint64_t number(Text name, uint64_t otherwise);
bool given(Text name);

}  // namespace xenopolis::guest::option
