// Names for many domains out of one configuration. Errors have code 0: their text says everything.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "toolstack/domain_spec.h"

namespace xenopolis::config {

// As many as there are domids.
inline constexpr uint32_t kMaxCount = 32'751;

// The name of number `number`: "web-{}" -> web-7, "web-{:04}" -> web-0007; what has no braces is returned as it is.
// Errors: other braces, and what is no name of a domain afterwards.
Result<std::string> expand_name(const std::string& name_template, uint32_t number);

// `count` (1 to kMaxCount) specs that differ by their names, which are numbered from `start`. Of several, a name
// without braces becomes NAME-1, NAME-2, ... Errors: also several with one uuid.
Result<std::vector<toolstack::DomainSpec>> multiply(const toolstack::DomainSpec& spec, uint32_t count,
                                                    uint32_t start = 1);

}  // namespace xenopolis::config
