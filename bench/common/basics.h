// Time, and giving up.
#pragma once

#include <errno.h>
#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>

#include "base/result.h"

namespace xenopolis::bench {

// CLOCK_MONOTONIC: the same on all CPUs, which the time-stamp counter need not be in a virtual machine.
inline uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

// Begins a message to the user with the program's name.
template <class... Arguments>
void complain(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  fmt::print(stderr, "{}: {}\n", program_invocation_short_name,
             fmt::format(format, std::forward<Arguments>(arguments)...));
}

// A figure that cannot be trusted is worse than none: the whole run ends.
template <class... Arguments>
[[noreturn]] void give_up(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  complain(format, std::forward<Arguments>(arguments)...);
  std::exit(1);
}

inline void require(bool condition, const char* claim) {
  if (!condition) give_up("not so: {}", claim);
}

template <class T>
T value_or_give_up(Result<T> result) {
  if (!result) give_up("{}", result.error().message());
  return *std::move(result);
}

// How long to wait for an answer before it counts as lost.
inline constexpr int kPatienceMs = 60'000;

}  // namespace xenopolis::bench
