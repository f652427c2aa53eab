// polisd: creates the machine, starts its services and cells, owns the life of the domains.
//
// Started by a user it becomes polis-keeper, which starts it again with --keeper-fd: see toolstack/keeper.h.
#include <linux/capability.h>
#include <sys/prctl.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstring>

#include "base/log.h"
#include "base/sandbox.h"
#include "base/signals.h"
#include "base/unix_socket.h"
#include "common_options.h"
#include "event/event_channels.h"
#include "toolstack/host.h"

namespace {

using namespace xenopolis;

// Returns only when that fails.
int become_keeper(const std::vector<std::string>& arguments, const std::string& log_level, const std::string& remove,
                  bool die_with_parent, uint32_t most_kills) {
  const std::string directory = toolstack::program_directory();
  std::vector<std::string> all{"polis-keeper", "--polisd",     directory + "/polisd",     "--log-level",
                               log_level,      "--most-kills", std::to_string(most_kills)};
  if (die_with_parent) all.insert(all.end(), {"--die-with-parent", "--remove", remove});
  all.push_back("--");
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : all) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const std::string program = directory + "/polis-keeper";
  execv(program.c_str(), argv.data());
  log::error("{}: {}", program, std::strerror(errno));
  return 1;
}

int run(const toolstack::HostConfig& config, Fd keeper_socket) {
  auto loop = EventLoop::create();
  if (!loop) {
    log::error("{}", loop.error().message());
    return 1;
  }
  const auto signals = Signals::take_over({SIGTERM, SIGINT, SIGHUP});
  if (!signals) {
    log::error("{}", signals.error().message());
    return 1;
  }
  if (const Status added = loop->add(signals->fd(), EPOLLIN, [&](uint32_t) { loop->stop(); }); !added) {
    log::error("{}", added.error().message());
    return 1;
  }
  auto keeper = std::make_unique<toolstack::Keeper>(std::move(keeper_socket));
  auto host = toolstack::Host::start(*loop, config, std::move(keeper));
  if (!host) {
    log::error("{}", host.error().message());
    return 1;
  }
  log::info("backend {} ({})", (*host)->backend().name, (*host)->backend().why);
  if (const Status ran = loop->run(); !ran) {
    log::error("{}", ran.error().message());
    return 1;
  }
  return (*host)->failure().empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("polisd: hosts Xen domains. Usually started by polis.", "polisd");
  toolstack::HostConfig config;
  std::string event_abi = "fifo";
  LogOptions log_options;
  std::string group;
  bool die_with_parent = false;
  int keeper_fd = -1;
  uint32_t most_kills = 10;
  app.add_option("--run-dir", config.run_directory, "directory for sockets and console logs")->required();
  app.add_option("--backend", config.backend, "auto, kvm or hosted")->capture_default_str();
  app.add_option("--event-abi", event_abi,
                 "Dom0's event channel ABI: fifo, 3l or 2l; with 2l guests are offered no other")
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(event::kAbiNames), std::end(event::kAbiNames))))
      ->capture_default_str();
  app.add_option("--domains-per-cell", config.domains_per_cell, "domains that share one polis-cell process")
      ->check(CLI::Range(1u, machine::kVcpusPerDoorbell))
      ->capture_default_str();
  app.add_option("--reserve-mib", config.reserve_mib, "host memory to keep free, in MiB")->capture_default_str();
  app.add_flag("--console-timestamps", config.console_timestamps, "in front of each line of a console's log");
  app.add_option("--console-log-max-bytes", config.console_log_max_bytes,
                 "length at which a console's log is rotated, 0: never")
      ->capture_default_str();
  app.add_option("--console-log-keep", config.console_log_keep, "rotated logs that are kept of a console")
      ->capture_default_str();
  log_options.add_to(app);
  app.add_flag("--die-with-parent", die_with_parent,
               "end with the process that started polisd, and remove the run directory");
  app.add_option("--most-kills", most_kills, "end the host when polisd is killed more often than this within 10 s")
      ->capture_default_str();
  app.add_option("--patience", config.patience_s,
                 "seconds after which a daemon that does not answer is killed and started again")
      ->check(CLI::Range(1u, 86'400u))
      ->capture_default_str();
  app.add_option("--keeper-fd", keeper_fd, "inherited socket to polis-keeper")->group("");
  app.add_option("--group", group, "whose members may use the sockets too: a name or number")->envname(kGroupVariable);
  CLI11_PARSE(app, argc, argv);
  config.event_abi = *event::abi_named(event_abi);
  config.log_level = log_options.level;
  setenv(log::kFormatVariable, log_options.format.c_str(), 1);  // for all that are started from here on
  log_options.start("polisd");
  if (!group.empty()) {
    setenv(kGroupVariable, group.c_str(), 1);
    if (const Status admitted = admit_group(group); !admitted) {
      log::error("{}", admitted.error().message());
      return 1;
    }
  }
  use_all_descriptors();
  if (keeper_fd < 0) {
    return become_keeper({argv + 1, argv + argc}, log_options.level, config.run_directory, die_with_parent, most_kills);
  }
  // The keeper's death is the host's.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // What is to be started polis-keeper starts.
  Status confined = sandbox::drop_privileges({CAP_DAC_OVERRIDE, CAP_CHOWN, CAP_FOWNER});
  if (confined) confined = sandbox::refuse_what_daemons_never_do(false);
  if (!confined) {
    log::error("{}", confined.error().message());
    return 1;
  }
  return run(config, Fd(keeper_fd));
}
