// Creating many domains: `polis create`, `polis up`.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/host_client.h"
#include "toolstack/domain_spec.h"

namespace xenopolis::cli {

struct CreationOptions {
  size_t window = 64;           // created at the same time
  bool all_or_nothing = false;  // whatever fails or interrupts: what was created is destroyed again
  bool quiet = false;           // no progress
};

struct CreatedDomain {
  std::string name;
  DomId domid;
};

// Why it could not be done, and the names of those for which.
using Problems = std::map<std::string, std::vector<std::string>>;

struct Creation {
  std::vector<CreatedDomain> created;  // in the order of what was wanted; still there
  Problems failures;                   // of creating
  size_t wanted = 0;
  int interrupted = 0;        // the signal
  size_t taken_back = 0;      // destroyed again with all_or_nothing
  Problems left;              // of destroying those
  bool host_is_gone = false;  // what was created went with it, or cannot be seen
  double seconds = 0;

  bool is_complete() const { return created.size() == wanted; }
};

// Image and ramdisk are made absolute. An error is one of the connection: what was created until then stays.
Result<Creation> create_domains(HostClient& client, const std::vector<toolstack::DomainSpec>& specs,
                                const CreationOptions& options);

// Its problems, and what was left of what was wanted, unless it is all, to stderr. The exit status.
int report_creation(const std::string& word, const Creation& creation);

// Destroys them, all at the same time.
Result<Problems> destroy_domains(HostClient& client, const std::vector<CreatedDomain>& domains, bool quiet);

// A line for each reason, to stderr: "polis WORD: web-7 and 12 more: why".
void print_problems(const std::string& word, const Problems& problems);
// Of how many domains.
size_t count_of(const Problems& problems);

}  // namespace xenopolis::cli
