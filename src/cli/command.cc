#include "cli/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <numeric>

#include "base/printable.h"
#include "cli/host_client.h"
#include "cli/run_directory.h"

namespace xenopolis::cli {
namespace {

// Of the letters that make one word of another: left out, put in, replaced.
size_t distance(std::string_view from, std::string_view to) {
  std::vector<size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < from.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < to.size(); ++j) {
      const size_t replaced = diagonal + (from[i] != to[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

std::string unknown_word(const CLI::App& group, const std::string& name, const std::string& word) {
  const auto known = group.get_subcommands([](const CLI::App*) { return true; });
  const auto nearest = std::min_element(known.begin(), known.end(), [&](const CLI::App* a, const CLI::App* b) {
    return distance(word, a->get_name()) < distance(word, b->get_name());
  });
  const std::string meant = (*nearest)->get_name();
  const std::string hint = distance(word, meant) <= 2 ? fmt::format("did you mean {}? ", meant) : "";
  return fmt::format("{0}: there is no word {1} ({2}`{0} --help` shows those that there are)", name, word, hint);
}

// In a line, with what to do about it.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* command = &app;
  std::string name = app.get_name();
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    name += " " + command->get_name();
  }
  const bool wants_word = command->get_require_subcommand_min() != 0;
  const auto unknown = app.remaining(true);
  if (wants_word && !unknown.empty() && !unknown.front().starts_with('-')) {
    return unknown_word(*command, name, unknown.front());
  }
  const bool is_incomplete = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError);
  if (wants_word && unknown.empty() && is_incomplete)
    return fmt::format("{0}: which word? `{0} --help` shows them", name);
  std::string what = error.what();
  constexpr std::string_view kConversion = "Could not convert: ";
  if (const size_t at = what.find(" = "); what.starts_with(kConversion) && at != std::string::npos) {
    what = fmt::format("{} cannot be \"{}\"", what.substr(kConversion.size(), at - kConversion.size()),
                       what.substr(at + 3));
  }
  return fmt::format("{0}: {1} (`{0} --help` shows what it takes)", name, what);
}

}  // namespace

Result<std::string> CommonOptions::directory() const {
  if (!host.empty()) return directory_of_host(host);
  if (run_directory.empty()) return usual_run_directory();
  return run_directory;
}

Result<std::unique_ptr<HostClient>> connect(const CommonOptions& common) {
  const std::string directory = TRY(common.directory());
  return HostClient::connect(directory);
}

int bad_usage(const std::string& word, const std::string& why) {
  fmt::print(stderr, "polis {0}: {1} (`polis {0} --help` shows what it takes)\n", word, why);
  return kExitBadUsage;
}

int no_json(const std::string& word) {
  return bad_usage(word, "--json: what it prints is no JSON");
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

// What libraries throw, and what nobody takes of the output, are failures as others are.
Result<int> CommandLine::do_chosen() {
  try {
    Result<int> status = chosen_();
    if (status && (fflush(stdout) != 0 || ferror(stdout) != 0)) return fail_errno("writing what was to be printed");
    return status;
  } catch (const std::exception& error) {
    return fail(0, error.what());
  }
}

int CommandLine::run(int argc, char** argv) {
  try {
    app_.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app_.exit(error);  // --help, --version
    fmt::print(stderr, "{}\n", printable(usage_error(app_, error)));
    return kExitBadUsage;
  }
  const Result<int> status = do_chosen();
  if (status) return *status;
  fmt::print(stderr, "polis {}: {}\n", chosen_word_, printable_lines(for_people(status.error())));
  return kExitFailure;
}

}  // namespace xenopolis::cli
