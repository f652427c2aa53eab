// For tests: a host of one's own, started as users start it, in a directory that goes with it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "machine/machine.h"
#include "temporary_directory.h"
#include "toolstack/control_client.h"
#include "toolstack/process.h"

namespace xenopolis::testing {

class LiveHost {
 public:
  // `options`: polisd's. The hosted backend and a temporary directory unless they say others.
  explicit LiveHost(std::vector<std::string> options = {});
  // Ends it, in order.
  ~LiveHost();

  const std::string& directory() const { return path_; }
  EventLoop& loop() { return loop_; }
  toolstack::ControlClient& control() { return *control_; }
  // Mapped when it is asked for first; the same after polisd has been killed.
  machine::Machine& machine();

  Result<nlohmann::json> ask(nlohmann::json request) { return control_->ask(std::move(request)); }
  // Of the guests that are built with the project ("citizen"); `more`: members of DomainSpec.
  Result<DomId> create(const std::string& name, const std::string& guest,
                       const nlohmann::json& more = nlohmann::json::object());
  // As `polis info` has it; "polis-cell": the first.
  pid_t pid_of(const std::string& program);
  nlohmann::json list();

  // Waits until it has ended without being asked to, and says how. It cannot be asked anything afterwards.
  std::string await_end();
  // SIGKILL, and waits for the end of it. What has been asked and is not answered is lost.
  void kill_polisd();
  // Until the next polisd answers.
  void connect();

  // Runs the loop until `is_so`; false after 30 s.
  bool await(const std::function<bool()>& is_so);
  // What a shell command prints, with XENSTORED_PATH and POLIS_RUN_DIR set.
  std::string shell(const std::string& command) const;

 private:
  EventLoop loop_{EventLoop::create().value()};
  TemporaryDirectory directory_;
  std::string path_;
  std::optional<toolstack::Process> keeper_;
  std::unique_ptr<toolstack::ControlClient> control_;
  std::optional<machine::Machine> machine_;
};

}  // namespace xenopolis::testing
