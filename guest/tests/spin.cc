// Never blocks: counts for ever, or for spin_ms milliseconds. The rest of the machine must not notice.
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "spin";

void test() {
  uint64_t spin_ms = option::number("spin_ms", 0);
  print("spin begins\n");
  console::flush();
  uint64_t end = spin_ms == 0 ? ~uint64_t{0} : now_ns() + spin_ms * 1'000'000;
  static volatile uint64_t counter;
  while (now_ns() < end) {
    for (unsigned i = 0; i < 10'000; ++i) counter = counter + 1;
  }
  print("spin counted ", counter, "\n");
}

}  // namespace xenopolis::guest
