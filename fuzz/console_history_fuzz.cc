// The past of consoles: any order of writing, reading, looking back, forgetting and dying.
#include <cstdio>

#include "base/check.h"
#include "console/testing/history_session.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  xenopolis::console::HistoryCounts counts;
  const std::string fault = xenopolis::console::play_history({data, size}, counts);
  if (!fault.empty()) std::fprintf(stderr, "%s\n", fault.c_str());
  CHECK(fault.empty());
  return 0;
}
