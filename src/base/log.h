// Diagnostics of the daemons: one line per fact on stderr, through spdlog.
#pragma once

#include <fmt/core.h>

#include <string_view>

namespace xenopolis::log {

enum class Level { kDebug, kInfo, kWarn, kError };

// Not spdlog's own templates: they would be compiled again in every file that logs.
void write(Level level, fmt::string_view format, fmt::format_args arguments);

template <class... Arguments>
void debug(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  write(Level::kDebug, format, fmt::make_format_args(arguments...));
}
template <class... Arguments>
void info(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  write(Level::kInfo, format, fmt::make_format_args(arguments...));
}
template <class... Arguments>
void warn(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  write(Level::kWarn, format, fmt::make_format_args(arguments...));
}
template <class... Arguments>
void error(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  write(Level::kError, format, fmt::make_format_args(arguments...));
}

// Lines read "2026-01-31T12:00:00.123 polis-cell[4711] info: ...". `level`: error, warn, info or debug.
void start(std::string_view program, std::string_view level = "info");

}  // namespace xenopolis::log
