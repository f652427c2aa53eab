#include "cli/since.h"

#include <fmt/format.h>
#include <time.h>

#include <charconv>
#include <chrono>
#include <cstring>
#include <optional>

namespace xenopolis::cli {
namespace {

// Reads numbers and separators from left to right.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  // Of exactly so many digits.
  std::optional<int> number(size_t digits) {
    int value = 0;
    if (text_.size() < digits) return std::nullopt;
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + digits, value);
    if (error != std::errc() || end != text_.data() + digits || text_.front() == '-') return std::nullopt;
    text_.remove_prefix(digits);
    return value;
  }
  bool skip(std::string_view any_of) {
    if (text_.empty() || any_of.find(text_.front()) == std::string_view::npos) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool at_end() const { return text_.empty(); }
  std::string_view rest() const { return text_; }

 private:
  std::string_view text_;
};

// "10m": milliseconds.
std::optional<uint64_t> parse_span(std::string_view text) {
  constexpr std::pair<std::string_view, uint64_t> kUnits[] = {{"ms", 1},       {"s", 1'000},     {"m", 60'000},
                                                              {"min", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
  uint64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || count > 1'000'000'000) return std::nullopt;
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  for (const auto& [name, ms] : kUnits) {
    if (unit == name) return count * ms;
  }
  return std::nullopt;
}

// "02:10", "02:10:03", "02:10:03.123".
bool read_clock(Scanner& scanner, tm& time, int& ms) {
  const auto hour = scanner.number(2);
  if (!hour || !scanner.skip(":")) return false;
  const auto minute = scanner.number(2);
  if (!minute) return false;
  std::optional<int> second = 0, millisecond = 0;
  if (scanner.skip(":")) {
    second = scanner.number(2);
    if (second && scanner.skip(".")) millisecond = scanner.number(3);
  }
  if (!second || !millisecond || *hour > 23 || *minute > 59 || *second > 60) return false;
  time.tm_hour = *hour;
  time.tm_min = *minute;
  time.tm_sec = *second;
  ms = *millisecond;
  return true;
}

// "2026-11-23".
bool read_date(Scanner& scanner, tm& time) {
  const auto year = scanner.number(4);
  if (!year || !scanner.skip("-")) return false;
  const auto month = scanner.number(2);
  if (!month || !scanner.skip("-")) return false;
  const auto day = scanner.number(2);
  if (!day || *year < 1970 || *month < 1 || *month > 12 || *day < 1 || *day > 31) return false;
  time.tm_year = *year - 1900;
  time.tm_mon = *month - 1;
  time.tm_mday = *day;
  return true;
}

std::optional<uint64_t> to_ms(tm time, int ms, bool is_utc) {
  time.tm_isdst = -1;
  const time_t seconds = is_utc ? timegm(&time) : mktime(&time);
  if (seconds < 0) return std::nullopt;
  return static_cast<uint64_t>(seconds) * 1000 + static_cast<uint64_t>(ms);
}

std::optional<uint64_t> parse_moment(std::string_view text, uint64_t now_ms) {
  tm time{};
  int ms = 0;
  Scanner clock(text);
  if (read_clock(clock, time, ms)) {
    const auto now = static_cast<time_t>(now_ms / 1000);
    tm today{};
    localtime_r(&now, &today);
    time.tm_year = today.tm_year;
    time.tm_mon = today.tm_mon;
    time.tm_mday = today.tm_mday;
    return clock.at_end() ? to_ms(time, ms, false) : std::nullopt;
  }
  Scanner scanner(text);
  time = {};
  if (!read_date(scanner, time)) return std::nullopt;
  if (scanner.skip("T ") && !read_clock(scanner, time, ms)) return std::nullopt;
  const bool is_utc = scanner.skip("Z");
  return scanner.at_end() ? to_ms(time, ms, is_utc) : std::nullopt;
}

}  // namespace

Result<uint64_t> parse_since(const std::string& text, uint64_t now_ms) {
  if (const auto span = parse_span(text)) return now_ms > *span ? now_ms - *span : 0;
  if (const auto moment = parse_moment(text, now_ms)) return *moment;
  return fail(0, fmt::format("\"{}\" is no time: 90s, 10m, 2h, 3d ago, 02:10, 2026-11-23 or "
                             "2026-11-23T02:10:03 (with Z: UTC)",
                             text));
}

Result<Stamp> parse_stamp(std::string_view line) {
  Scanner scanner(line);
  tm time{};
  int ms = 0;
  if (scanner.skip("[") && read_date(scanner, time) && scanner.skip(" ") && read_clock(scanner, time, ms) &&
      scanner.skip("]") && scanner.skip(" ")) {
    if (const auto moment = to_ms(time, ms, false)) return Stamp{*moment, line.size() - scanner.rest().size()};
  }
  return fail(EINVAL, "no time");
}

std::string to_local_time(uint64_t time_ms) {
  const auto seconds = static_cast<time_t>(time_ms / 1000);
  tm time{};
  localtime_r(&seconds, &time);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}", time.tm_year + 1900, time.tm_mon + 1, time.tm_mday,
                     time.tm_hour, time.tm_min, time.tm_sec, time_ms % 1000);
}

uint64_t now_ms() {
  using std::chrono::milliseconds;
  return static_cast<uint64_t>(
      std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count());
}

}  // namespace xenopolis::cli
