#include "machine/touched.h"

#include <unistd.h>

#include <algorithm>

namespace xenopolis::machine {

std::vector<uint32_t> touched(const Machine& machine, uint64_t offset, uint64_t stride, uint32_t count) {
  const int memfd = machine.fds().front();
  const uint64_t end = offset + count * stride;
  std::vector<uint32_t> numbers;
  for (uint64_t at = offset; at < end;) {
    const off_t data = lseek(memfd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 || static_cast<uint64_t>(data) >= end) break;
    const off_t hole = lseek(memfd, data, SEEK_HOLE);
    if (hole < 0) break;
    at = std::min(static_cast<uint64_t>(hole), end);
    // An element may lie on both sides of a border.
    uint64_t number = (static_cast<uint64_t>(data) - offset) / stride;
    if (!numbers.empty()) number = std::max(number, uint64_t{numbers.back()} + 1);
    for (; offset + number * stride < at; ++number) numbers.push_back(static_cast<uint32_t>(number));
  }
  return numbers;
}

}  // namespace xenopolis::machine
