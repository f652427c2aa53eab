#include "experiment/private_host.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include <filesystem>

namespace xenopolis::experiment {
namespace {

constexpr int kStartPatienceMs = 15'000;
constexpr int kStopPatienceMs = 30'000;

// Removes the directory unless it is kept.
struct TemporaryDirectory {
  std::string path;
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path.empty()) std::filesystem::remove_all(path, ignored);
  }
};

// In memory where possible: thousands of console logs that nobody keeps need no disk (creating a file on ext4 cost a
// quarter of all CPU time while domains were created). Short, because unix socket paths are.
Result<std::string> make_directory() {
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  for (const std::string& base :
       {std::string(runtime != nullptr ? runtime : ""), std::string("/dev/shm"), std::string("/tmp")}) {
    std::string path = base + "/polis-XXXXXX";
    if (!base.empty() && mkdtemp(path.data()) != nullptr) return path;
  }
  return fail_errno("creating a directory in $XDG_RUNTIME_DIR, /dev/shm or /tmp");
}

bool wait_for_end(const toolstack::Process& process, int timeout_ms) {
  pollfd ended{process.pidfd(), POLLIN, 0};
  return poll(&ended, 1, timeout_ms) == 1;
}

}  // namespace

PrivateHost::PrivateHost(std::string directory, toolstack::Process polisd,
                         std::unique_ptr<toolstack::ControlClient> control,
                         std::unique_ptr<toolstack::XenstoreClient> xenstore, machine::Machine machine,
                         std::string backend, std::string backend_why)
    : directory_(std::move(directory)),
      polisd_(std::move(polisd)),
      control_(std::move(control)),
      xenstore_(std::move(xenstore)),
      machine_(std::move(machine)),
      backend_(std::move(backend)),
      backend_why_(std::move(backend_why)) {}

Result<std::unique_ptr<PrivateHost>> PrivateHost::start(EventLoop& loop, const Options& options) {
  TemporaryDirectory directory{TRY(make_directory())};
  // clang-format off
  const std::vector<std::string> arguments{
      "--run-dir", directory.path,
      "--backend", options.backend,
      "--event-abi", options.event_abi,
      "--domains-per-cell", std::to_string(options.domains_per_cell),
      "--reserve-mib", std::to_string(options.reserve_mib),
      "--log-level", "error",
      "--die-with-parent"};
  // clang-format on
  toolstack::Process polisd = TRY(toolstack::Process::spawn(toolstack::program_directory() + "/polisd", arguments, {}));
  const std::string socket = directory.path + "/polisd.sock";
  Result<std::unique_ptr<toolstack::ControlClient>> control = fail(ETIMEDOUT, "polisd does not start");
  for (int waited_ms = 0; !control && waited_ms < kStartPatienceMs; waited_ms += 10) {
    control = toolstack::ControlClient::connect(loop, socket, 10);
    if (!control && wait_for_end(polisd, 0)) {
      return fail(0, fmt::format("polisd {} (it said why above)", polisd.reap()));
    }
  }
  if (!control) return tl::make_unexpected(control.error());
  const nlohmann::json info = TRY((*control)->ask({{"op", "info"}}));
  auto xenstore = TRY(toolstack::XenstoreClient::connect(loop, directory.path + "/xenstored.sock", kStartPatienceMs));
  machine::Machine machine = TRY((*control)->attach_machine());
  return std::unique_ptr<PrivateHost>(new PrivateHost(std::exchange(directory.path, {}), std::move(polisd),
                                                      *std::move(control), std::move(xenstore), std::move(machine),
                                                      info.value("backend", ""), info.value("backend_why", "")));
}

PrivateHost::~PrivateHost() {
  stop();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

Result<std::vector<pid_t>> PrivateHost::processes() {
  const nlohmann::json info = TRY(control_->ask({{"op", "info"}}));
  const nlohmann::json& all = info.at("processes");
  std::vector<pid_t> pids = all.at("cells").get<std::vector<pid_t>>();
  for (const char* name : {"polisd", "polis-xenstored", "polis-consoled"}) pids.push_back(all.at(name).get<pid_t>());
  return pids;
}

void PrivateHost::stop() {
  if (std::exchange(stopped_, true)) return;
  polisd_.signal(SIGTERM);
  if (!wait_for_end(polisd_, kStopPatienceMs)) polisd_.signal(SIGKILL);
  polisd_.reap();
}

}  // namespace xenopolis::experiment
