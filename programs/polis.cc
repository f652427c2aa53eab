// polis: the command line.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/console_command.h"
#include "cli/consoles_command.h"
#include "event/event_channels.h"
#include "experiment/experiment.h"

namespace {

using namespace xenopolis;

constexpr int kExitBadUsage = 2;
constexpr int kExitInterrupted = 130;

void add_experiment(CLI::App& app, experiment::Options& options) {
  CLI::App* command =
      app.add_subcommand("experiment", "Bring up many Xen domains on this machine, measure them, take them down again");
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

void add_run_directory(CLI::App* command, std::string& directory) {
  command
      ->add_option("--run-dir", directory,
                   "of the host; else POLIS_RUN_DIR, else $XDG_RUNTIME_DIR/xenopolis/default or /run/xenopolis/default")
      ->type_name("DIR");
}

constexpr const char* kSinceHelp = "begin with what was written then: 90s, 10m, 2h, 3d ago, 02:10, 2026-11-23T02:10:03";

CLI::App* add_console(CLI::App& app, cli::ConsoleOptions& options) {
  CLI::App* command = app.add_subcommand(
      "console", "Attach to a domain's console: what it wrote lately, then what it writes and what you type");
  command->footer(
      "Ctrl-] leaves. Without a terminal input comes from a pipe; after its end the console is read on.\n"
      "Exit status: 0 after Ctrl-], --replay, --quit-after or the domain's end; 1 if there is no such console.");
  command->add_option("DOMAIN", options.domain, "name or domid")->required();
  command->add_option("-n,--console", options.console, "of a domain with several")->type_name("N");
  CLI::Option* force = command->add_flag("-f,--force", options.force, "write in place of whoever does");
  CLI::Option* replay = command->add_flag("--replay", options.replay, "print what is held of the past and leave");
  CLI::Option* follow = command->add_flag("--follow", options.follow, "read only");
  command->add_option("--since", options.since, kSinceHelp)->type_name("TIME");
  CLI::Option* quit_after = command
                                ->add_option("-q,--quit-after", options.quit_after_s,
                                             "leave so long after the guest has got the last of the input")
                                ->check(CLI::NonNegativeNumber)
                                ->type_name("SECONDS");
  replay->excludes(follow)->excludes(force)->excludes(quit_after);
  follow->excludes(force)->excludes(quit_after);
  add_run_directory(command, options.run_directory);
  return command;
}

CLI::App* add_consoles(CLI::App& app, cli::ConsolesOptions& options) {
  CLI::App* command = app.add_subcommand("consoles", "Search and follow the consoles of all domains, line by line");
  command->footer(
      "Lines come in the order in which they were written, without escape sequences.\n"
      "Exit status, as of grep: 0 if there were lines, 1 if --grep found none, 2 on errors.");
  command->add_option("PATTERN", options.patterns, "domains by name, with * and ?, or by domid; all if there is none");
  command->add_option("-g,--grep", options.grep, "lines in which this matches (RE2 syntax)")->type_name("REGEX");
  command->add_flag("-i,--ignore-case", options.ignore_case, "of --grep");
  command->add_flag("--tail", options.tail, "what is written from now on; with --since or --logs the past first");
  command->add_option("--since", options.since, kSinceHelp)->type_name("TIME");
  command->add_flag("--logs", options.logs,
                    "search the log files: they reach back further, and to domains that are gone");
  command->add_flag("-t,--timestamps", options.times, "print when each line was written");
  command->add_option("--color", options.color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  add_run_directory(command, options.run_directory);
  return command;
}

int run_experiment(const experiment::Options& options) {
  const auto results = experiment::run(options);
  if (!results) {
    fmt::print(stderr, "polis: {}\n", results.error().message());
    return 1;
  }
  fmt::print("{}", experiment::to_table(*results));
  if (const Status written = experiment::write_json(*results, options.output); !written) {
    fmt::print(stderr, "polis: {}\n", written.error().message());
    return 1;
  }
  fmt::print("  {:<26} {}/results.json\n", "everything", options.output);
  if (results->interrupted) return kExitInterrupted;
  return results->good() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("polis: thousands of Xen domains on one machine, on KVM, without booting Xen", "polis");
  app.require_subcommand(1);
  app.set_version_flag("--version", XENOPOLIS_VERSION);
  experiment::Options options;
  add_experiment(app, options);
  cli::ConsoleOptions console_options;
  const CLI::App* console = add_console(app, console_options);
  cli::ConsolesOptions consoles_options;
  const CLI::App* consoles = add_consoles(app, consoles_options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : kExitBadUsage;
  }
  if (console->parsed()) return cli::run_console(console_options);
  if (consoles->parsed()) return cli::run_consoles(consoles_options);
  return run_experiment(options);
}
