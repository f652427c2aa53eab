// What several programs of a host have in their command lines.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/log.h"

namespace xenopolis {

struct LogOptions {
  std::string level = "info";
  std::string format = "text";

  void add_to(CLI::App& app) {
    app.add_option("--log-level", level, "error, warn, info or debug")->capture_default_str();
    app.add_option("--log-format", format, "how lines of the log look: text or json")
        ->envname(log::kFormatVariable)
        ->check(CLI::IsMember({"text", "json"}))
        ->capture_default_str();
  }
  void start(std::string_view program) const { log::start(program, level, *log::format_named(format)); }
};

// The machine as descriptors that are inherited from polis-keeper.
struct MachineOptions {
  int memory_fd = -1;
  std::vector<int> doorbell_fds;

  // The memory's, which needs the doorbells'.
  CLI::Option* add_to(CLI::App& app) {
    auto* doorbells = app.add_option("--doorbell-fds", doorbell_fds, "eventfds of Dom0's vCPUs")->delimiter(',');
    return app.add_option("--machine-fd", memory_fd, "descriptor of the machine's memory")->needs(doorbells);
  }

  // Once: they are the caller's then.
  Fd memory() const { return Fd(memory_fd); }
  std::vector<Fd> doorbells() const { return {doorbell_fds.begin(), doorbell_fds.end()}; }
};

}  // namespace xenopolis
