// Sends events to the Dom0 backends as fast as it can, storm_ms milliseconds long (default 1000), with nothing in the
// rings most of the time. Others must still be served, and so must its own console line.
#include "runtime/xenstore.h"
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "storm";

void test() {
  uint64_t end = now_ns() + option::number("storm_ms", 1000) * 1'000'000;
  uint64_t sent = 0, reads = 0;
  while (now_ns() < end) {
    for (unsigned i = 0; i < 64; ++i) {
      EXPECT_EQ(events::send(console::port()), 0);
      EXPECT_EQ(events::send(xenstore::port()), 0);
      sent += 2;
    }
    EXPECT(!xenstore::read("domid").is_error());
    ++reads;
  }
  print("storm sent ", sent, ", read ", reads, "\n");
}

}  // namespace xenopolis::guest
