// `polis consoles`: what all domains write, as lines; searched, followed.
#pragma once

#include <string>
#include <vector>

namespace xenopolis::cli {

struct ConsolesOptions {
  std::string run_directory;
  std::vector<std::string> patterns;  // of domains; none: all
  std::string grep;                   // RE2; empty: every line
  bool ignore_case = false;
  bool tail = false;           // go on with what is written from now on
  bool logs = false;           // the past is what the log files hold
  bool times = false;          // before each line
  bool json = false;           // an object for each line, with its time
  std::string since;           // empty: all of the past, or with tail none of it
  std::string color = "auto";  // "always", "never"
};

// The exit status, as grep(1): 0: there were lines, 1: there were none, 2: it cannot be, see stderr.
int run_consoles(const ConsolesOptions& options);

}  // namespace xenopolis::cli
