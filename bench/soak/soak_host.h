// A host for a soak: polisd and all that it starts, in a directory that is given.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/doctor.h"
#include "cli/host_client.h"
#include "toolstack/process.h"

namespace xenopolis::bench {

class SoakHost {
 public:
  static Result<std::unique_ptr<SoakHost>> start(const std::string& polisd, const std::string& directory,
                                                 const std::string& backend);
  // Ends it, and waits for that.
  ~SoakHost();

  cli::HostClient& client() { return *client_; }
  // And connects to the next.
  Status kill_polisd();
  // Of a running process of the host, any cell for "polis-cell"; 0: there is none, or polisd is away.
  pid_t pid_of(const std::string& program, size_t which = 0);
  // Of all its processes.
  std::vector<std::string> last_messages() const;

 private:
  SoakHost(toolstack::Process keeper, std::string directory)
      : keeper_(std::move(keeper)), directory_(std::move(directory)) {}

  Status connect();

  toolstack::Process keeper_;
  const std::string directory_;
  std::unique_ptr<cli::HostClient> client_;
};

}  // namespace xenopolis::bench
