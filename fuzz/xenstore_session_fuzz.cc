// Whole sessions of Dom0's clients and guests on rings against the naive model: replies and events as predicted.
#include <cstdio>

#include "base/check.h"
#include "xenstore/testing/session.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  xenopolis::xenstore::model::SessionCounts counts;
  const std::string fault = xenopolis::xenstore::model::play_session({data, size}, counts);
  if (!fault.empty()) std::fprintf(stderr, "%s\n", fault.c_str());
  CHECK(fault.empty());
  return 0;
}
