// A run of characters, not owned, not terminated.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xenopolis::guest {

struct Text {
  const char* begin = "";
  size_t size = 0;

  constexpr Text() = default;
  constexpr Text(const char* start, size_t length) : begin(start), size(length) {}
  // NOLINTNEXTLINE(google-explicit-constructor): a literal is a text
  constexpr Text(const char* terminated) : begin(terminated) {
    while (terminated[size] != 0) ++size;
  }

  constexpr bool empty() const { return size == 0; }

  friend constexpr bool operator==(Text a, Text b) {
    if (a.size != b.size) return false;
    for (size_t i = 0; i < a.size; ++i) {
      if (a.begin[i] != b.begin[i]) return false;
    }
    return true;
  }
};

// At most `limit` characters of a field that need not be terminated.
constexpr Text text_in(const char* field, size_t limit) {
  size_t size = 0;
  while (size < limit && field[size] != 0) ++size;
  return {field, size};
}

// The decimal digits of a number, and the buffer that holds them.
class Decimal {
 public:
  explicit constexpr Decimal(uint64_t value) {
    do {
      digits_[--first_] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
  }
  constexpr Text text() const { return {digits_ + first_, kLongest - first_}; }

 private:
  static constexpr size_t kLongest = 20;  // 2^64 - 1
  char digits_[kLongest] = {};
  size_t first_ = kLongest;
};

// The number a text starts with; 0 if it starts with something else.
constexpr uint64_t number_in(Text text) {
  uint64_t value = 0;
  for (size_t i = 0; i < text.size && text.begin[i] >= '0' && text.begin[i] <= '9'; ++i) {
    value = value * 10 + static_cast<uint64_t>(text.begin[i] - '0');
  }
  return value;
}

}  // namespace xenopolis::guest
