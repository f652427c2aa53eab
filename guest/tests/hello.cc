// Prints a greeting and its command line, and goes.
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "hello";

void test() {
  print("hello from ", Text(domain_self.info->magic, 14), " [", domain::command_line(), "]\n");
}

}  // namespace xenopolis::guest
