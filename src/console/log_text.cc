#include "console/log_text.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <iterator>

#include "base/check.h"

namespace xenopolis::console {

LogText::LogText(bool with_stamps, size_t limit) : with_stamps_(with_stamps), limit_(limit) {
  CHECK(limit <= kMostBytes);
  text_.reserve(kMostBytes);
}

void LogText::clear(bool at_line_start) {
  text_.clear();
  at_line_start_ = at_line_start;
}

size_t LogText::add(std::string_view text, uint64_t time_ms) {
  size_t taken = 0;
  while (taken < text.size()) {
    std::string_view part = text.substr(taken);
    // Some guests end their lines with "\n\r": that '\r' is not the next line's.
    const bool ends_last_line = at_line_start_ && part.front() == '\r';
    const bool wants_stamp = with_stamps_ && at_line_start_ && !ends_last_line;
    if (room() <= (wants_stamp ? kStampBytes : 0)) break;
    if (wants_stamp) add_stamp(time_ms);
    if (ends_last_line) {
      part = part.substr(0, 1);
    } else if (const size_t newline = part.find('\n'); with_stamps_ && newline != std::string_view::npos) {
      part = part.substr(0, newline + 1);
    }
    part = part.substr(0, room());
    text_ += part;
    taken += part.size();
    at_line_start_ = ends_last_line || part.back() == '\n';
  }
  return taken;
}

void LogText::add_mark(uint64_t dropped, uint64_t time_ms) {
  end_line();
  if (with_stamps_ && time_ms != 0) add_stamp(time_ms);
  fmt::format_to(std::back_inserter(text_), "[{} bytes dropped]\n", dropped);
}

void LogText::end_line() {
  if (!at_line_start_) text_ += '\n';
  at_line_start_ = true;
}

void LogText::add_stamp(uint64_t time_ms) {
  const auto second = static_cast<time_t>(time_ms / 1000);
  if (static_cast<uint64_t>(second) != stamp_second_) {
    tm local{};
    localtime_r(&second, &local);
    fmt::format_to_n(stamp_.data(), kStampBytes, "[{:04}-{:02}-{:02} {:02}:{:02}:{:02}.000] ", local.tm_year + 1900,
                     local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec);
    stamp_second_ = static_cast<uint64_t>(second);
  }
  fmt::format_to_n(stamp_.data() + 21, 3, "{:03}", time_ms % 1000);
  text_.append(stamp_.data(), kStampBytes);
}

}  // namespace xenopolis::console
