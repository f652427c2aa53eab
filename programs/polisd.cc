// polisd: creates the machine, starts its services and cells, owns the life of the domains.
//
// Started by a user it becomes polis-keeper, which starts it again with --keeper-fd: see toolstack/keeper.h.
#include <linux/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>

#include "base/log.h"
#include "base/sandbox.h"
#include "base/signals.h"
#include "base/unix_socket.h"
#include "common_options.h"
#include "event/event_channels.h"
#include "toolstack/host.h"

namespace xenopolis {
namespace {

struct Options {
  toolstack::HostConfig host;
  std::string event_abi = "fifo";
  std::string group;
  bool die_with_parent = false;
  uint32_t most_kills = 10;
  int keeper_fd = -1;
  LogOptions log;

  void add_to(CLI::App& app);
};

void Options::add_to(CLI::App& app) {
  app.add_option("--run-dir", host.run_directory, "directory for sockets and console logs")->required();
  app.add_option("--backend", host.backend, "auto, kvm or hosted")->capture_default_str();
  app.add_option("--event-abi", event_abi,
                 "Dom0's event channel ABI: fifo, 3l or 2l; with 2l guests are offered no other")
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(event::kAbiNames), std::end(event::kAbiNames))))
      ->capture_default_str();
  app.add_option("--domains-per-cell", host.domains_per_cell, "domains that share one polis-cell process")
      ->check(CLI::Range(1u, machine::kVcpusPerDoorbell))
      ->capture_default_str();
  app.add_option("--reserve-mib", host.reserve_mib, "host memory to keep free, in MiB")->capture_default_str();
  app.add_flag("--console-timestamps", host.console_timestamps, "in front of each line of a console's log");
  app.add_option("--console-log-max-bytes", host.console_log_max_bytes,
                 "length at which a console's log is rotated, 0: never")
      ->capture_default_str();
  app.add_option("--console-log-keep", host.console_log_keep, "rotated logs that are kept of a console")
      ->capture_default_str();
  log.add_to(app);
  app.add_flag("--die-with-parent", die_with_parent,
               "end with the process that started polisd, and remove the run directory");
  app.add_option("--most-kills", most_kills, "end the host when polisd is killed more often than this within 10 s")
      ->capture_default_str();
  app.add_option("--patience", host.patience_s,
                 "seconds after which a daemon that does not answer is killed and started again")
      ->check(CLI::Range(1u, 86'400u))
      ->capture_default_str();
  app.add_option("--keeper-fd", keeper_fd, "inherited socket to polis-keeper")->group("");
  app.add_option("--group", group, "whose members may use the sockets too: a name or number")->envname(kGroupVariable);
}

// Returns only when that fails.
Error become_keeper(const Options& options, const std::vector<std::string>& arguments) {
  const std::string directory = toolstack::program_directory();
  std::vector<std::string> all{"polis-keeper",
                               "--polisd",
                               directory + "/polisd",
                               "--log-level",
                               options.log.level,
                               "--most-kills",
                               std::to_string(options.most_kills)};
  if (options.die_with_parent) all.insert(all.end(), {"--die-with-parent", "--remove", options.host.run_directory});
  all.push_back("--");
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : all) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const std::string program = directory + "/polis-keeper";
  execv(program.c_str(), argv.data());
  return system_error(program);
}

// The exit status.
Result<int> serve(const Options& options, const std::vector<std::string>& arguments) {
  setenv(log::kFormatVariable, options.log.format.c_str(), 1);  // for all that are started from here on
  if (!options.group.empty()) {
    setenv(kGroupVariable, options.group.c_str(), 1);
    TRY_VOID(admit_group(options.group));
  }
  use_all_descriptors();
  if (options.keeper_fd < 0) return tl::make_unexpected(become_keeper(options, arguments));
  // The keeper's death is the host's.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // What is to be started polis-keeper starts.
  TRY_VOID(sandbox::drop_privileges({CAP_DAC_OVERRIDE, CAP_CHOWN, CAP_FOWNER}));
  TRY_VOID(sandbox::refuse_what_daemons_never_do(false));
  EventLoop loop = TRY(EventLoop::create());
  const Signals signals = TRY(Signals::take_over({SIGTERM, SIGINT, SIGHUP}));
  TRY_VOID(loop.add(signals.fd(), EPOLLIN, [&](uint32_t) { loop.stop(); }));
  toolstack::HostConfig config = options.host;
  config.event_abi = *event::abi_named(options.event_abi);
  config.log_level = options.log.level;
  const auto host =
      TRY(toolstack::Host::start(loop, config, std::make_unique<toolstack::Keeper>(Fd(options.keeper_fd))));
  log::info("backend {} ({})", host->backend().name, host->backend().why);
  TRY_VOID(loop.run());
  return host->failure().empty() ? 0 : 1;
}

}  // namespace
}  // namespace xenopolis

int main(int argc, char** argv) {
  CLI::App app("polisd: hosts Xen domains. Usually started by polis.", "polisd");
  xenopolis::Options options;
  options.add_to(app);
  CLI11_PARSE(app, argc, argv);
  options.log.start("polisd");
  const xenopolis::Result<int> status = xenopolis::serve(options, {argv + 1, argv + argc});
  if (status) return *status;
  xenopolis::log::error("{}", status.error().message());
  return 1;
}
