#include "runtime/print.h"

namespace xenopolis::guest {

void print_one(Text text) {
  console::write(text);
}

void print_one(uint64_t value) {
  console::write(Decimal(value).text());
}

void print_one(int64_t value) {
  if (value < 0) console::write('-');
  print_one(value < 0 ? -static_cast<uint64_t>(value) : static_cast<uint64_t>(value));
}

void print_one(Hex value) {
  console::write("0x");
  unsigned digits = value.value == 0 ? 1 : (67 - static_cast<unsigned>(__builtin_clzll(value.value))) / 4;
  while (digits-- > 0) {
    auto nibble = static_cast<unsigned>(value.value >> digits * 4 & 15);
    console::write(static_cast<char>(nibble < 10 ? '0' + nibble : 'a' + nibble - 10));
  }
}

}  // namespace xenopolis::guest
