// CHECK is for our own bugs alone: what a guest, client or operator can influence returns an error instead.
#pragma once

namespace xenopolis {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}

#define CHECK(condition)                                         \
  do {                                                           \
    if (!(condition)) [[unlikely]]                               \
      ::xenopolis::check_failed(#condition, __FILE__, __LINE__); \
  } while (0)
