// What the daemon is to be measured by: ratios within one round, and what they should be.
#pragma once

#include "results.h"

namespace xenopolis::bench {

// An array of {name, median, least, most, at_most or at_least, met}; what was not measured is left out.
nlohmann::json goals(const Results& results, const std::vector<uint32_t>& guests);

}  // namespace xenopolis::bench
