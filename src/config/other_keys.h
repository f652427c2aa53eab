// The keys of xl.cfg(5) that this host does nothing for.
#pragma once

#include <optional>
#include <string>

#include "config/settings.h"

namespace xenopolis::config {

// Why a setting that to_spec() has no use for cannot be had; nothing where it asks for what is so anyway (an empty list
// of disks, no HVM feature).
std::optional<std::string> why_not(const Setting& setting);

}  // namespace xenopolis::config
