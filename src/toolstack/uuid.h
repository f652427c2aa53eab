// UUIDs of domains: xen_domain_handle_t, whose bytes are in the order of the text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace xenopolis::toolstack {

using Uuid = std::array<uint8_t, 16>;

// Version 4 of RFC 4122.
Uuid random_uuid();
// Lower case, 8-4-4-4-12 digits.
std::string to_text(const Uuid& uuid);
// Digits in either case, with the hyphens in their places. EINVAL.
Result<Uuid> parse_uuid(std::string_view text);

}  // namespace xenopolis::toolstack
