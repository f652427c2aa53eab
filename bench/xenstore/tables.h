// The figures for people to read.
#pragma once

#include <nlohmann/json.hpp>

namespace xenopolis::bench {

// Environment first. `figures`: what run() returns.
void print_tables(const nlohmann::json& figures);

}  // namespace xenopolis::bench
