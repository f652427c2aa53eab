// Whole sessions of Dom0's clients and guests on rings against the naive model: replies and events as predicted.
#include <array>
#include <cstdio>
#include <vector>

#include "base/check.h"
#include "xenstore/testing/session.h"

// Long inputs from the start: a session of a few bytes says nothing.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  static std::array<char, 32> no_length_control{"-len_control=0"};
  static std::array<char, 32> longest{"-max_len=1500"};
  static std::vector<char*> arguments;
  arguments.assign(*argv, *argv + *argc);
  // Behind the program's name, so that what is given overrides them.
  arguments.insert(arguments.begin() + 1, {no_length_control.data(), longest.data()});
  *argc = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  *argv = arguments.data();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  xenopolis::xenstore::model::SessionCounts counts;
  const std::string fault = xenopolis::xenstore::model::play_session({data, size}, counts);
  if (!fault.empty()) std::fprintf(stderr, "%s\n", fault.c_str());
  CHECK(fault.empty());
  return 0;
}
