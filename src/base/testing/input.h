// For tests: a fuzzer's bytes as choices.
#pragma once

#include <cstdint>
#include <span>

namespace xenopolis::testing {

class Input {
 public:
  explicit Input(std::span<const uint8_t> bytes) : rest_(bytes) {}
  bool empty() const { return rest_.empty(); }
  // At most 256; 0 when there are no more.
  unsigned below(unsigned limit) {
    if (rest_.empty()) return 0;
    const unsigned value = rest_.front() % limit;
    rest_ = rest_.subspan(1);
    return value;
  }

 private:
  std::span<const uint8_t> rest_;
};

}  // namespace xenopolis::testing
