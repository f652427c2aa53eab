// polis experiment.
#include <fmt/format.h>

#include "cli/command.h"
#include "event/event_channels.h"
#include "experiment/experiment.h"

namespace xenopolis::cli {
namespace {

Result<int> run_experiment(const experiment::Options& options) {
  const auto results = TRY(experiment::run(options));
  fmt::print("{}", experiment::to_table(results));
  TRY_VOID(experiment::write_json(results, options.output));
  fmt::print("  {:<26} {}/results.json\n", "everything", options.output);
  if (results.interrupted) return kExitInterrupted;
  return results.good() ? 0 : kExitFailure;
}

}  // namespace

void add_experiment(CommandLine& line) {
  const auto shared = std::make_shared<experiment::Options>();
  experiment::Options& options = *shared;
  CLI::App* command =
      line.add("experiment", "Bring up many Xen domains on this machine, measure them, take them down again",
               [shared] { return run_experiment(*shared); });
  command->add_option("--domains", options.domains, "how many, 1 to 32751")->capture_default_str();
  command->add_option("--memory", options.memory_mib,
                      "memory of each domain, in MiB; 4, other guests than the citizen 32");
  command
      ->add_option("--event-abi", options.event_abi,
                   "Dom0's event channel ABI: fifo (131,072 channels), 3l (262,144), or 2l to meet its limit of 4,096")
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(event::kAbiNames), std::end(event::kAbiNames))))
      ->capture_default_str();
  command->add_option("--backend", options.backend, "auto, kvm or hosted (no isolation)")
      ->check(CLI::IsMember({"auto", "kvm", "hosted"}))
      ->capture_default_str();
  command->add_option("--seconds", options.seconds, "length of the steady state")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--guest", options.guest, "another PV kernel instead of the citizen")->type_name("IMAGE");
  command->add_option("--expect", options.expect, "console text that shows that another guest is up")
      ->type_name("TEXT");
  command->add_option("--output", options.output, "directory for results.json")
      ->type_name("DIR")
      ->capture_default_str();
  command->add_flag("--keep-logs", options.keep_logs, "keep the console logs in DIR/console");
  command->add_option("--window", options.window, "domains created at the same time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--domains-per-cell", options.domains_per_cell, "domains that share a process, 1 to 64")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command->add_option("--beat-ms", options.beat_ms, "period of each domain's beat")
      ->check(CLI::Range(1, 3'600'000))
      ->capture_default_str();
  command->add_option("--floor-vms", options.floor_vms, "bare VMs in the measurement of the floor, 0: none")
      ->capture_default_str();
  command->add_option("--up-timeout", options.up_timeout_s, "seconds without progress after which to give up")
      ->capture_default_str();
  command->add_option("--reserve-mib", options.reserve_mib, "host memory to keep free, in MiB")->capture_default_str();
  command->add_flag("--quiet", options.quiet, "no progress on stderr");
}

}  // namespace xenopolis::cli
