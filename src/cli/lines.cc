#include "cli/lines.h"

#include <algorithm>

namespace xenopolis::cli {
namespace {

// The length of the character that begins there, if it is well-formed UTF-8 of two bytes or more (RFC 3629) and none of
// the controls U+0080 .. U+009F, which some terminals obey: CSI is one. Else 0.
size_t length_of_character(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const uint8_t lead = byte(0);
  const size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const uint8_t second = byte(1);
  const bool is_control = lead == 0xc2 && second < 0xa0;
  const bool is_overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool is_no_character = (lead == 0xed && second >= 0xa0) || (lead == 0xf4 && second >= 0x90);
  return is_control || is_overlong || is_no_character ? 0 : length;
}

}  // namespace

void Lines::add(std::string_view text, uint64_t time_ms, const Visitor& visit) {
  scanner_.scan(text, [&](console::TokenKind kind, std::string_view token) {
    if (kind == console::TokenKind::kText || (kind == console::TokenKind::kControl && token.front() == '\t')) {
      add_text(token, time_ms, visit);
    } else if (kind == console::TokenKind::kControl && token.front() == '\n') {
      if (!has_begun_) time_ms_ = time_ms;
      end_line(visit);
    }
  });
}

void Lines::add_text(std::string_view text, uint64_t time_ms, const Visitor& visit) {
  if (!has_begun_) time_ms_ = time_ms;
  has_begun_ = true;
  while (!text.empty()) {
    if (line_.size() >= kMostBytes) {
      end_line(visit);
      time_ms_ = time_ms;
      has_begun_ = true;
    }
    const std::string_view part = text.substr(0, kMostBytes - line_.size());
    line_.append(part);
    text.remove_prefix(part.size());
  }
}

void Lines::end_line(const Visitor& visit) {
  std::string plain;
  plain.reserve(line_.size());
  for (size_t at = 0; at < line_.size();) {
    const bool is_ascii = static_cast<uint8_t>(line_[at]) < 0x80;
    const size_t length = is_ascii ? 1 : length_of_character(std::string_view(line_).substr(at));
    plain.append(length == 0 ? "?" : std::string_view(line_).substr(at, length));
    at += std::max<size_t>(length, 1);
  }
  visit(plain, time_ms_);
  line_.clear();
  has_begun_ = false;
}

void Lines::finish(const Visitor& visit) {
  if (has_begun_) end_line(visit);
}

}  // namespace xenopolis::cli
