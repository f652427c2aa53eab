#include "cli/command.h"

#include <fmt/format.h>

#include "cli/host_client.h"
#include "cli/run_directory.h"

namespace xenopolis::cli {

Result<std::string> CommonOptions::directory() const {
  if (!host.empty()) return directory_of_host(host);
  if (run_directory.empty()) return usual_run_directory();
  return run_directory;
}

Result<std::unique_ptr<HostClient>> connect(const CommonOptions& common) {
  const std::string directory = TRY(common.directory());
  return HostClient::connect(directory);
}

CommandLine::CommandLine(const std::string& description, const std::string& version) : app_(description, "polis") {
  // At most one: a domain may be called like a word.
  app_.require_subcommand(1);
  app_.set_version_flag("--version", version);
  // For the words that are added from here on: what is common may stand behind them, too.
  app_.fallthrough();
  CLI::Option* host = app_.add_option("--host", common_.host,
                                      "name of the host that is meant; else POLIS_RUN_DIR, POLIS_HOST or \"default\"")
                          ->type_name("NAME");
  app_.add_option("--run-dir", common_.run_directory,
                  "directory of the host that is meant; usually $XDG_RUNTIME_DIR/xenopolis/NAME or /run/xenopolis/NAME")
      ->type_name("DIR")
      ->excludes(host);
  app_.add_flag("--json", common_.json, "print JSON");
  app_.footer("--host, --run-dir and --json may stand behind any word. `polis WORD --help` says more.");
}

CLI::App* CommandLine::add(const std::string& word, const std::string& description, Run run) {
  return add_to(&app_, word, description, std::move(run));
}

CLI::App* CommandLine::add_group(const std::string& word, const std::string& description) {
  CLI::App* group = app_.add_subcommand(word, description);
  group->require_subcommand(1);
  return group;
}

CLI::App* CommandLine::add_to(CLI::App* group, const std::string& word, const std::string& description, Run run) {
  CLI::App* command = group->add_subcommand(word, description);
  const std::string name = group == &app_ ? word : group->get_name() + " " + word;
  command->callback([this, name, run = std::move(run)] {
    chosen_word_ = name;
    chosen_ = run;
  });
  return command;
}

int CommandLine::run(int argc, char** argv) {
  try {
    app_.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app_.exit(error);
    return code == 0 ? 0 : kExitBadUsage;
  }
  const Result<int> status = chosen_();
  if (status) return *status;
  fmt::print(stderr, "polis {}: {}\n", chosen_word_, for_people(status.error()));
  return kExitFailure;
}

}  // namespace xenopolis::cli
