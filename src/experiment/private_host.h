// A host of one's own for the time of an experiment: a temporary directory, a polisd, and lines to it.
#pragma once

#include <memory>
#include <string>

#include "experiment/options.h"
#include "machine/machine.h"
#include "toolstack/control_client.h"
#include "toolstack/process.h"
#include "toolstack/xenstore_client.h"

namespace xenopolis::experiment {

// Destroying it ends polisd, with it all domains, and removes the directory.
class PrivateHost {
 public:
  static Result<std::unique_ptr<PrivateHost>> start(EventLoop& loop, const Options& options);
  ~PrivateHost();

  toolstack::ControlClient& control() { return *control_; }
  toolstack::XenstoreClient& xenstore() { return *xenstore_; }
  machine::Machine& machine() { return machine_; }
  const std::string& directory() const { return directory_; }
  std::string console_directory() const { return directory_ + "/console"; }
  std::string console_socket() const { return directory_ + "/console.sock"; }
  const std::string& backend() const { return backend_; }
  const std::string& backend_why() const { return backend_why_; }
  // All processes of the host.
  Result<std::vector<pid_t>> processes();

  // An orderly end; waits until polisd has gone.
  void stop();

 private:
  PrivateHost(std::string directory, toolstack::Process polisd, std::unique_ptr<toolstack::ControlClient> control,
              std::unique_ptr<toolstack::XenstoreClient> xenstore, machine::Machine machine, std::string backend,
              std::string backend_why);

  std::string directory_;
  toolstack::Process polisd_;
  std::unique_ptr<toolstack::ControlClient> control_;
  std::unique_ptr<toolstack::XenstoreClient> xenstore_;
  machine::Machine machine_;
  std::string backend_;
  std::string backend_why_;
  bool stopped_ = false;
};

}  // namespace xenopolis::experiment
