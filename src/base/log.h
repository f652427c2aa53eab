// Diagnostics of the daemons: one line per fact on stderr, through spdlog.
#pragma once

#include <spdlog/spdlog.h>

#include <string_view>

namespace xenopolis::log {

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

// Lines read "2026-01-31T12:00:00.123 polis-cell[4711] info: ...". `level`: error, warn, info or debug.
void start(std::string_view program, std::string_view level = "info");

}  // namespace xenopolis::log
