#include "base/log.h"

#include <fmt/chrono.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/printable.h"

namespace xenopolis::log {
namespace {

constexpr std::array<std::string_view, 4> kLevelNames{"debug", "info", "warn", "error"};

std::atomic<Listener> listener = nullptr;
// Constant after start(), which comes before other threads.
Format line_format = Format::kText;

spdlog::level::level_enum spdlog_level(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarn:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string_view program_name(const spdlog::logger* logger) {
  return logger == nullptr ? std::string_view() : std::string_view(logger->name());
}

std::string json_line(const Entry& entry, std::string_view program) {
  const uint64_t ms = entry.time_ns / 1'000'000;
  nlohmann::ordered_json line{
      {"time", fmt::format("{:%FT%T}.{:03}Z", fmt::gmtime(static_cast<time_t>(ms / 1000)), ms % 1000)},
      {"level", name_of(entry.level)},
      {"program", program},
      {"pid", getpid()}};
  if (entry.domid) line["domid"] = *entry.domid;
  if (entry.is_guests) line["guest"] = entry.origin;
  line["message"] = entry.text;
  return line.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::ordered_json::error_handler_t::replace);
}

bool is_wanted_on_stderr(spdlog::logger* logger, Level level) {
  return logger != nullptr && logger->should_log(spdlog_level(level));
}

}  // namespace

std::string_view name_of(Level level) {
  return kLevelNames[static_cast<size_t>(level)];
}

std::optional<Level> level_named(std::string_view name) {
  for (const Level level : {Level::kDebug, Level::kInfo, Level::kWarn, Level::kError}) {
    if (name_of(level) == name) return level;
  }
  return std::nullopt;
}

std::optional<Format> format_named(std::string_view name) {
  if (name == "text") return Format::kText;
  if (name == "json") return Format::kJson;
  return std::nullopt;
}

void set_listener(Listener next) {
  listener.store(next, std::memory_order_release);
}

void write(Level level, fmt::string_view format, fmt::format_args arguments, std::optional<About> about) {
  spdlog::logger* logger = spdlog::default_logger_raw();
  const bool on_stderr = is_wanted_on_stderr(logger, level);
  const Listener other = level == Level::kDebug ? nullptr : listener.load(std::memory_order_acquire);
  if (!on_stderr && other == nullptr) return;
  const std::string text = fmt::vformat(format, arguments);
  const std::string_view program = program_name(logger);
  const Entry entry{level,   false, CalendarClock().now_ns(), about ? std::optional(about->domid) : std::nullopt,
                    program, text};
  if (on_stderr)
    logger->log(spdlog_level(level), line_format == Format::kJson ? json_line(entry, program) : printable(text));
  if (other != nullptr) other(entry);
}

void write_guests(uint32_t domid, std::string_view name, std::string_view line) {
  spdlog::logger* logger = spdlog::default_logger_raw();
  const Entry entry{Level::kInfo, true, CalendarClock().now_ns(), domid, name, line};
  if (is_wanted_on_stderr(logger, entry.level)) {
    logger->log(spdlog_level(entry.level),
                line_format == Format::kJson
                    ? json_line(entry, program_name(logger))
                    : fmt::format("domain {} ({}) says: {}", domid, printable(name), printable(line)));
  }
  if (const Listener other = listener.load(std::memory_order_acquire); other != nullptr) other(entry);
}

void start(std::string_view program, std::string_view level, Format format) {
  auto logger =
      std::make_shared<spdlog::logger>(std::string(program), std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern(format == Format::kJson ? "%v" : "%Y-%m-%dT%H:%M:%S.%e %n[%P] %l: %v");
  logger->set_level(spdlog::level::from_str(std::string(level)));
  line_format = format;
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace xenopolis::log
