// Figures as people read them.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <string>

namespace xenopolis::experiment {

// 10,000
inline std::string thousands(double value) {
  std::string digits = fmt::format("{:.0f}", std::abs(value));
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return (value < 0 ? "-" : "") + digits;
}

// Three digits that count.
inline std::string three_digits(double value) {
  const double size = std::abs(value);
  if (size == 0) return "0";
  if (size >= 1000) return thousands(value);
  return fmt::format("{:.{}f}", value, size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

inline std::string milliseconds(double ms) {
  if (ms >= 1000) return three_digits(ms / 1000) + " s";
  if (ms < 0.1) return three_digits(ms * 1000) + " µs";
  return three_digits(ms) + " ms";
}

inline std::string kibibytes(double kib) {
  if (kib >= 1024 * 1024) return three_digits(kib / 1024 / 1024) + " GiB";
  if (kib >= 1024) return three_digits(kib / 1024) + " MiB";
  return fmt::format("{:.0f} KiB", kib);
}

// "a domain", "2 domains"
inline std::string counted(double count, const char* one, const char* many) {
  return thousands(count) + " " + (count == 1 ? one : many);
}

}  // namespace xenopolis::experiment
