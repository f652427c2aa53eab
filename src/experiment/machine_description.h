// What machine a measurement was made on.
#pragma once

#include <nlohmann/json.hpp>

namespace xenopolis::experiment {

// cpu, cpus, memory_mib, kernel, hypervisor (what this machine itself runs on, or "none"), date (UTC, ISO 8601).
nlohmann::json describe_machine();

}  // namespace xenopolis::experiment
