// polis console, polis consoles.
#include "cli/command.h"
#include "cli/console_command.h"
#include "cli/consoles_command.h"

namespace xenopolis::cli {
namespace {

constexpr const char* kSinceHelp = "begin with what was written then: 90s, 10m, 2h, 3d ago, 02:10, 2026-11-23T02:10:03";

void add_console_word(CommandLine& line) {
  const auto options = std::make_shared<ConsoleOptions>();
  CLI::App* command =
      line.add("console", "Attach to a domain's console: what it wrote lately, then what it writes and what you type",
               [options, &line]() -> Result<int> {
                 if (line.common().json) return no_json("console");
                 options->run_directory = TRY(line.common().directory());
                 return run_console(*options);
               });
  command->footer(
      "Ctrl-] leaves. Without a terminal input comes from a pipe; after its end the console is read on.\n"
      "Exit status: 0 after Ctrl-], --replay, --quit-after or the domain's or the host's end; 1 if there is no such "
      "console.");
  command->add_option("DOMAIN", options->domain, "name or domid")->required();
  command->add_option("-n,--console", options->console, "of a domain with several")->type_name("N");
  CLI::Option* force = command->add_flag("-f,--force", options->force, "write in place of whoever does");
  CLI::Option* replay = command->add_flag("--replay", options->replay, "print what is held of the past and leave");
  CLI::Option* follow = command->add_flag("--follow", options->follow, "read only");
  command->add_option("--since", options->since, kSinceHelp)->type_name("TIME");
  CLI::Option* quit_after = command
                                ->add_option("-q,--quit-after", options->quit_after_s,
                                             "leave so long after the guest has got the last of the input")
                                ->check(CLI::NonNegativeNumber)
                                ->type_name("SECONDS");
  replay->excludes(follow)->excludes(force)->excludes(quit_after);
  follow->excludes(force)->excludes(quit_after);
}

void add_consoles_word(CommandLine& line) {
  const auto options = std::make_shared<ConsolesOptions>();
  CLI::App* command = line.add("consoles", "Search and follow the consoles of all domains, line by line",
                               [options, &line]() -> Result<int> {
                                 options->run_directory = TRY(line.common().directory());
                                 options->json = line.common().json;
                                 return run_consoles(*options);
                               });
  command->footer(
      "Lines come in the order in which they were written, without escape sequences.\n"
      "Exit status, as of grep: 0 if there were lines, 1 if --grep found none, 2 on errors.");
  command->add_option("PATTERN", options->patterns, "domains by name, with * and ?, or by domid; all if there is none");
  command->add_option("-g,--grep", options->grep, "lines in which this matches (RE2 syntax)")->type_name("REGEX");
  command->add_flag("-i,--ignore-case", options->ignore_case, "of --grep");
  command->add_flag("--tail", options->tail, "what is written from now on; with --since or --logs the past first");
  command->add_option("--since", options->since, kSinceHelp)->type_name("TIME");
  command->add_flag("--logs", options->logs,
                    "search the log files: they reach back further, and to domains that are gone");
  command->add_flag("-t,--timestamps", options->times, "print when each line was written");
  command->add_option("--color", options->color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
}

}  // namespace

void add_console(CommandLine& line) {
  add_console_word(line);
  add_consoles_word(line);
}

}  // namespace xenopolis::cli
