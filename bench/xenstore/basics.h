// Time, and giving up.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace xenopolis::bench {

inline uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

// A figure that cannot be trusted is worse than none: the whole run ends.
template <class... Arguments>
[[noreturn]] void give_up(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  fmt::print(stderr, "xenstore: {}\n", fmt::format(format, std::forward<Arguments>(arguments)...));
  std::exit(1);
}

inline void require(bool condition, const char* claim) {
  if (!condition) give_up("not so: {}", claim);
}

// How long to wait for an answer before it counts as lost.
inline constexpr int kPatienceMs = 60'000;

}  // namespace xenopolis::bench
