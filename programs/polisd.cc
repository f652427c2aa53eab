// polisd: creates the machine, starts its services and cells, owns the life of the domains.
#include <sys/prctl.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <filesystem>

#include "base/log.h"
#include "base/signals.h"
#include "event/event_channels.h"
#include "toolstack/host.h"

namespace {

using namespace xenopolis;

int run(const toolstack::HostConfig& config) {
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
  auto host = toolstack::Host::start(*loop, config);
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
  std::string log_level = "info";
  bool die_with_parent = false;
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
  app.add_option("--log-level", log_level, "error, warn, info or debug")->capture_default_str();
  app.add_flag("--die-with-parent", die_with_parent,
               "end with the process that started polisd, and remove the run directory");
  CLI11_PARSE(app, argc, argv);
  config.event_abi = *event::abi_named(event_abi);
  config.log_level = log_level;
  log::start("polisd", log_level);
  use_all_descriptors();
  if (die_with_parent) prctl(PR_SET_PDEATHSIG, SIGTERM);
  const int status = run(config);
  std::error_code ignored;
  if (die_with_parent) std::filesystem::remove_all(config.run_directory, ignored);
  return status;
}
