// What guests write when it is only about how much: text in which a gap shows.
#pragma once

#include <string>
#include <string_view>

namespace xenopolis::bench {

class Pattern {
 public:
  // Longest piece.
  static constexpr size_t kMost = 64 * 1024;

  // What console `console` writes at `offset` of its output. guest/console_load.cc says the same.
  static std::string_view at(uint32_t console, uint64_t offset, size_t bytes) {
    static const std::string text = make();
    return std::string_view(text).substr((offset + console) % kPeriod, bytes);
  }

 private:
  // Prime: a gap of blocks or pages does not hide in it.
  static constexpr size_t kPeriod = 4093;

  static std::string make() {
    std::string text(kPeriod + kMost, '\n');
    for (size_t i = 0; i < text.size(); ++i) {
      const size_t place = i % kPeriod;
      if (place % 64 != 63) text[i] = static_cast<char>('a' + (place + place / 64) % 26);
    }
    return text;
  }
};

}  // namespace xenopolis::bench
