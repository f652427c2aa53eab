// print("port ", port, " word ", Hex{word}, "\n"): to the console ring.
#pragma once

#include "runtime/console.h"

namespace xenopolis::guest {

struct Hex {
  uint64_t value;
};

void print_one(Text text);
void print_one(uint64_t value);
void print_one(int64_t value);
void print_one(Hex value);
inline void print_one(const char* text) {
  print_one(Text(text));
}
inline void print_one(int value) {
  print_one(int64_t{value});
}
inline void print_one(unsigned value) {
  print_one(uint64_t{value});
}

// Does not tell the backend yet: console::flush() does, or the next batch with console::flush_into().
template <class... Parts>
void print(Parts... parts) {
  (print_one(parts), ...);
}

}  // namespace xenopolis::guest
