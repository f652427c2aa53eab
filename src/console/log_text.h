// How a log reads: what the guest wrote, byte for byte, with a stamp before each line where that is wanted, and marks
// where bytes are missing. Gathers what goes to a file with one write(2).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace xenopolis::console {

class LogText {
 public:
  static constexpr size_t kMostBytes = 64 * 1024;

  // `limit`: of one text, at most kMostBytes.
  explicit LogText(bool with_stamps, size_t limit = kMostBytes);

  // Begins anew; the next byte will be the first of a line, or not.
  void clear(bool at_line_start);
  bool at_line_start() const { return at_line_start_; }
  std::string_view text() const { return text_; }

  // How many bytes of it there was room for.
  size_t add(std::string_view text, uint64_t time_ms);
  // "[N bytes dropped]" on a line of its own; without a stamp if the time is not known: 0.
  void add_mark(uint64_t dropped, uint64_t time_ms);
  // Ends the line, if one has begun.
  void end_line();

 private:
  // "[2026-11-23 02:10:03.123] ", local time.
  static constexpr size_t kStampBytes = 26;

  size_t room() const { return limit_ > text_.size() ? limit_ - text_.size() : 0; }
  void add_stamp(uint64_t time_ms);

  const bool with_stamps_;
  const size_t limit_;
  std::string text_;
  bool at_line_start_ = true;
  std::array<char, kStampBytes> stamp_{};  // the last one
  uint64_t stamp_second_ = ~uint64_t{0};
};

}  // namespace xenopolis::console
