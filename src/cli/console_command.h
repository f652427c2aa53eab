// `polis console`: one domain's console at one's own terminal, or in a pipe.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"

namespace xenopolis::cli {

struct ConsoleOptions {
  std::string run_directory;
  std::string domain;  // name or domid
  uint16_t console = 0;
  bool force = false;
  bool replay = false;                 // print the past and leave
  bool follow = false;                 // read only
  std::string since;                   // empty: all that is held
  std::optional<double> quit_after_s;  // after the end of the input
  std::function<Status()> attached;    // called once, when nothing that the guest writes can be missed; may be empty
};

// The exit status: 0: left, the past printed, or the domain has ended; 1: it cannot be, see stderr.
int run_console(const ConsoleOptions& options);

}  // namespace xenopolis::cli
