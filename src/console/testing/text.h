// For tests: each console's endless text, of which every byte says whose it is and where it belongs.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace xenopolis::console {

// Lines of 32 bytes: the console's number, the line's number, and the same again backwards in another guise.
inline constexpr uint64_t kTextLine = 32;

inline std::string text_line(uint32_t console, uint64_t line) {
  return fmt::format("{:08x} {:012x} {:09o}\n", console, line & 0xffff'ffff'ffff, (line ^ console) & 0777'777'777);
}

// Its bytes from `offset` on.
inline std::string text_of(uint32_t console, uint64_t offset, size_t size) {
  std::string text;
  text.reserve(size + 2 * kTextLine);
  for (uint64_t line = offset / kTextLine; text.size() < size + offset % kTextLine; ++line) {
    text += text_line(console, line);
  }
  return text.substr(offset % kTextLine, size);
}

// Empty if `text` is what stands at `offset`, else what is there instead.
inline std::string text_fault(uint32_t console, uint64_t offset, std::string_view text) {
  const std::string expected = text_of(console, offset, text.size());
  if (text == expected) return {};
  size_t at = 0;
  while (text[at] == expected[at]) ++at;
  return fmt::format("console {:#x}: at {} stands {:?}, not {:?}", console, offset + at, text.substr(at, 40),
                     std::string_view(expected).substr(at, 40));
}

}  // namespace xenopolis::console
