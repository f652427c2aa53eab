// polis experiment, polis report.
#include <fmt/format.h>

#include <fstream>

#include "cli/command.h"
#include "event/event_channels.h"
#include "experiment/experiment.h"
#include "experiment/report.h"
#include "experiment/sweep.h"
#include "xen_abi/xen.h"

namespace xenopolis::cli {
namespace {

// As it was typed, but for the program's path.
std::string command_line() {
  std::ifstream file("/proc/self/cmdline");
  std::string command = "polis";
  std::string argument;
  std::getline(file, argument, '\0');
  while (std::getline(file, argument, '\0')) {
    const bool is_plain = !argument.empty() && argument.find_first_of(" \t\n'\"\\$*?;&|<>()") == std::string::npos;
    command += is_plain ? " " + argument : " '" + argument + "'";
  }
  return command;
}

Result<int> run_sweep(experiment::SweepOptions sweep, const std::string& version) {
  sweep.version = version;
  sweep.command = command_line();
  const auto outcome = TRY(experiment::run_sweep(sweep));
  if (outcome.report.empty()) {
    fmt::print("no domain was up in any run; everything is in {}/results.json\n", sweep.each.output);
  } else {
    fmt::print("report: {}\n", outcome.report);
  }
  if (outcome.interrupted) return kExitInterrupted;
  return outcome.good ? 0 : kExitFailure;
}

Result<int> run_experiment(const experiment::SweepOptions& sweep, const std::string& version) {
  if (!sweep.domains.empty()) return run_sweep(sweep, version);
  if (sweep.event_abis.size() != 1) return fail(EINVAL, "several event channel ABIs are for --sweep");
  experiment::Options options = sweep.each;
  options.event_abi = sweep.event_abis.front();
  const auto results = TRY(experiment::run(options));
  fmt::print("{}", experiment::to_table(results));
  TRY_VOID(experiment::write_json(results, options.output));
  fmt::print("  {:<26} {}/results.json\n", "everything", options.output);
  if (results.interrupted) return kExitInterrupted;
  return results.good() ? 0 : kExitFailure;
}

struct ReportOptions {
  std::string directory = "polis-experiment";
  std::string picture;
};

Result<int> run_report(const ReportOptions& options) {
  const auto sweep = TRY(experiment::read_sweep_file(options.directory + "/results.json"));
  fmt::print("{}\n", TRY(experiment::write_report(sweep, options.directory)));
  if (options.picture.empty()) return 0;
  std::ofstream file(options.picture, std::ios::trunc);
  file << TRY(experiment::report_picture(sweep));
  file.close();
  if (!file) return fail(EIO, "writing " + options.picture);
  fmt::print("{}\n", options.picture);
  return 0;
}

void add_report(CommandLine& line) {
  const auto options = std::make_shared<ReportOptions>();
  CLI::App* command = line.add("report", "Make report.html anew from the results.json of an experiment",
                               [options, &line]() -> Result<int> {
                                 if (line.common().json) return no_json("report");
                                 return run_report(*options);
                               });
  command->add_option("DIR", options->directory, "directory of results.json")->capture_default_str();
  command->add_option("--picture", options->picture, "write the first diagram as SVG, too")->type_name("FILE");
}

}  // namespace

void add_experiment(CommandLine& line) {
  const auto sweep = std::make_shared<experiment::SweepOptions>();
  sweep->event_abis = {sweep->each.event_abi};
  experiment::Options& options = sweep->each;
  CLI::App* command =
      line.add("experiment", "Bring up many Xen domains on this machine, measure them, take them down again",
               [sweep, &line]() -> Result<int> {
                 if (line.common().json) return no_json("experiment");
                 return run_experiment(*sweep, line.app().version());
               });
  CLI::Option* domains =
      command->add_option("--domains", options.domains, "how many, 1 to 32751")->capture_default_str();
  command->add_option("--memory", options.memory_mib,
                      "memory of each domain, in MiB; 4, other guests than the citizen 32");
  command
      ->add_option("--event-abi", sweep->event_abis,
                   "Dom0's event channel ABI: fifo (131,072 channels), 3l (262,144), or 2l to meet its limit of 4,096; "
                   "several with --sweep")
      ->delimiter(',')
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(event::kAbiNames), std::end(event::kAbiNames))))
      ->default_str(options.event_abi);
  command->add_option("--backend", options.backend, "auto, kvm or hosted (no isolation)")
      ->check(CLI::IsMember({"auto", "kvm", "hosted"}))
      ->capture_default_str();
  command->add_option("--seconds", options.seconds, "length of the steady state")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--guest", options.guest, "another PV kernel instead of the citizen")->type_name("IMAGE");
  command->add_option("--expect", options.expect, "console text that shows that another guest is up")
      ->type_name("TEXT");
  command
      ->add_option("--sweep", sweep->domains,
                   "one run for each of these numbers of domains and each --event-abi; then a report")
      ->delimiter(',')
      ->check(CLI::Range(1u, kDomIdCount - 1))
      ->type_name("N,N,...")
      ->excludes(domains);
  command
      ->add_option(
          "--peers", sweep->peers,
          "with --sweep: so many processes, bwrap sandboxes and QEMU microvms, where installed, to compare; 0: none")
      ->capture_default_str();
  command->add_option("--output", options.output, "directory for results.json, and with --sweep report.html")
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
  add_report(line);
}

}  // namespace xenopolis::cli
