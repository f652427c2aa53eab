#include "base/printable.h"

#include <algorithm>
#include <cstddef>

namespace xenopolis {
namespace {

bool continues(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

// Bytes of the character at the beginning of `text`, which is not empty; 0: it is no UTF-8 (RFC 3629), or a control
// character of more than one byte.
size_t shown_bytes(std::string_view text) {
  const auto at = [text](size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : 0); };
  const unsigned char first = at(0), second = at(1);
  if (first < 0x80) return 1;
  const size_t size = first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (first < 0xc2 || size == 0 || text.size() < size) return 0;
  const std::string_view rest = text.substr(1, size - 1);
  if (!std::all_of(rest.begin(), rest.end(), continues)) return 0;
  const bool is_c1 = first == 0xc2 && second < 0xa0;
  const bool is_overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool is_no_character = (first == 0xed && second >= 0xa0) || (first == 0xf4 && second >= 0x90);
  return is_c1 || is_overlong || is_no_character ? 0 : size;
}

std::string shown(std::string_view text, bool with_lines) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const char first = text.front();
    const bool is_control =
        (static_cast<unsigned char>(first) < ' ' && first != '\t' && !(with_lines && first == '\n')) || first == 0x7f;
    const size_t size = is_control ? 0 : shown_bytes(text);
    if (size == 0) {
      result += '?';
    } else {
      result.append(text.substr(0, size));
    }
    text.remove_prefix(std::max<size_t>(1, size));
  }
  return result;
}

}  // namespace

std::string printable(std::string_view text) {
  return shown(text, false);
}

std::string printable_lines(std::string_view text) {
  return shown(text, true);
}

}  // namespace xenopolis
