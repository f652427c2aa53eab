// Consoles whose guests write, read, lie and reboot, whose viewers look and type, and whose daemon dies: any session.
#include <cstdio>

#include "base/check.h"
#include "base/log.h"
#include "console/testing/session.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool is_quiet = (xenopolis::log::start("console_ring_fuzz", "error"), true);
  xenopolis::console::SessionCounts counts;
  const std::string fault = xenopolis::console::play_session({data, size}, counts);
  if (!fault.empty()) std::fprintf(stderr, "%s\n", fault.c_str());
  CHECK(is_quiet && fault.empty());
  return 0;
}
