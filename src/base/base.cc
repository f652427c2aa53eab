#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "base/check.h"
#include "base/fd.h"
#include "base/result.h"

namespace xenopolis {

std::string Error::message() const {
  return code == 0 ? what : what + ": " + std::generic_category().message(code);
}

Error system_error(std::string what) {
  return Error{errno, std::move(what)};
}

void use_all_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: CHECK(%s) failed\n", file, line, condition);
  std::abort();
}

}  // namespace xenopolis
