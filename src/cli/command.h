// The words of polis. A group of words is a file here that offers `void add_GROUP(CommandLine&)`; programs/polis.cc
// calls them all, in the order in which --help shows them. In such a function:
//
//   const auto options = std::make_shared<DestroyOptions>();
//   CLI::App* command = line.add("destroy", "End domains at once",
//                                [options, &line] { return destroy(*options, line.common()); });
//   command->add_option("DOMAIN", options->domains, "name or domid")->required();
//
// The parser lives as long as the program, hence what is captured lives long enough.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

namespace xenopolis::cli {

inline constexpr int kExitFailure = 1;
inline constexpr int kExitBadUsage = 2;
inline constexpr int kExitInterrupted = 130;

// What may stand behind any word: --host NAME, --run-dir DIR, --json.
struct CommonOptions {
  std::string host;
  std::string run_directory;
  bool json = false;

  // Of the host that is meant: cli/run_directory.h. EINVAL: that cannot be the name of one.
  Result<std::string> directory() const;
};

// Says on stderr why the command line cannot be meant so. kExitBadUsage.
int bad_usage(const std::string& word, const std::string& why);
// For words that print nothing as JSON: a script that asks for it is told, and does not parse something else.
int no_json(const std::string& word);

class HostClient;
// To the host that is meant (cli/host_client.h).
Result<std::unique_ptr<HostClient>> connect(const CommonOptions& common);

class CommandLine {
 public:
  // Called when its word was the chosen one, with all options read: the exit status, or what to print behind
  // "polis WORD: " before ending with kExitFailure.
  using Run = std::function<Result<int>()>;

  CommandLine(const std::string& description, const std::string& version);
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  CLI::App* add(const std::string& word, const std::string& description, Run run);
  // A word with words of its own behind it: `polis host start`.
  CLI::App* add_group(const std::string& word, const std::string& description);
  CLI::App* add_to(CLI::App* group, const std::string& word, const std::string& description, Run run);

  CLI::App& app() { return app_; }
  const CommonOptions& common() const { return common_; }

  // Reads the command line and does what it says. The program's exit status.
  int run(int argc, char** argv);

 private:
  Result<int> do_chosen();

  CLI::App app_;
  CommonOptions common_;
  std::string chosen_word_;
  Run chosen_;
};

// The groups. Each in the file of its name.
void add_completion(CommandLine& line);   // completion_words.cc: completion
void add_console(CommandLine& line);      // console_words.cc: console, consoles
void add_create(CommandLine& line);       // create_words.cc: create
void add_doctor(CommandLine& line);       // doctor_words.cc: doctor
void add_domain(CommandLine& line);       // domain_words.cc: destroy, shutdown, reboot, pause...
void add_experiment(CommandLine& line);   // experiment_words.cc: experiment, report
void add_fleet(CommandLine& line);        // fleet_words.cc: up, down
void add_host(CommandLine& line);         // host_words.cc: host, env
void add_observation(CommandLine& line);  // observe_words.cc: dmesg, metrics, trace
void add_queries(CommandLine& line);      // list_words.cc: list, domid, uptime, info...
void add_top(CommandLine& line);          // top_words.cc: top

}  // namespace xenopolis::cli
