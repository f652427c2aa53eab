// Diagnostics of the daemons: one line per fact on stderr, through spdlog.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace xenopolis::log {

enum class Level : uint8_t { kDebug, kInfo, kWarn, kError };
std::string_view name_of(Level level);  // "debug", "info", "warn", "error"
std::optional<Level> level_named(std::string_view name);

// The domain that a line is about: log::warn(log::About{domid}, "...").
struct About {
  uint32_t domid;
};

// Not spdlog's own templates: they would be compiled again in every file that logs.
void write(Level level, fmt::string_view format, fmt::format_args arguments, std::optional<About> about = {});
// A line that guest `domid` wrote to its hypervisor's log.
void write_guests(uint32_t domid, std::string_view name, std::string_view line);

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
template <class... Arguments>
void info(About about, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  write(Level::kInfo, format, fmt::make_format_args(arguments...), about);
}
template <class... Arguments>
void warn(About about, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  write(Level::kWarn, format, fmt::make_format_args(arguments...), about);
}
template <class... Arguments>
void error(About about, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  write(Level::kError, format, fmt::make_format_args(arguments...), about);
}

// Somebody else who wants to know: called for lines of kInfo and above, whatever goes to stderr, by the thread that
// logs.
struct Entry {
  Level level;
  bool is_guests;
  uint64_t time_ns;  // since 1970
  std::optional<uint32_t> domid;
  std::string_view origin;  // the program; the guest's name if it is the guest's line
  std::string_view text;
};
using Listener = void (*)(const Entry& entry);
// nullptr: nobody. What another thread logs meanwhile may still reach the last one.
void set_listener(Listener listener);

// How lines look:
//   kText  2026-01-31T12:00:00.123 polis-cell[4711] info: ...
//   kJson
//   {"time":"2026-01-31T12:00:00.123Z","level":"info","program":"polis-cell","pid":4711,"domid":3,"message":"..."}
//          in UTC; domid where the line is about a domain
enum class Format { kText, kJson };
std::optional<Format> format_named(std::string_view name);  // "text", "json"
// The environment's variable that says it to all processes of a host.
inline constexpr const char* kFormatVariable = "POLIS_LOG_FORMAT";

// `level`: error, warn, info or debug; less goes to stderr.
void start(std::string_view program, std::string_view level = "info", Format format = Format::kText);

}  // namespace xenopolis::log
