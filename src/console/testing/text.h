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

// Consoles with this bit have text of small bytes, which look like anything but text.
inline constexpr uint32_t kThinText = 1u << 31;

inline char thin_byte(uint32_t console, uint64_t offset) {
  const uint64_t mixed = (offset / 16 + console) * 0x9e37'79b9'7f4a'7c15;
  return static_cast<char>(mixed >> (16 + offset % 16 * 3) & 7);
}

// Its bytes from `offset` on.
inline std::string text_of(uint32_t console, uint64_t offset, size_t size) {
  if ((console & kThinText) != 0) {
    std::string thin(size, 0);
    for (char& byte : thin) byte = thin_byte(console, offset++);
    return thin;
  }
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
