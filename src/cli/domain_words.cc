// What is done to domains: destroy, shutdown, reboot, pause, unpause, rename, sysrq, trigger.
#include <fmt/format.h>

#include <set>

#include "base/printable.h"
#include "cli/command.h"
#include "cli/creation.h"
#include "cli/domain_list.h"
#include "cli/end_watch.h"
#include "cli/host_client.h"
#include "cli/progress_line.h"

namespace xenopolis::cli {
namespace {

using nlohmann::json;

// Requests under way at the same time.
constexpr size_t kWindow = 512;

struct Choice {
  std::vector<std::string> domains;
  bool all = false;

  bool is_none() const { return domains.empty() && !all; }
};

int which_domain(const std::string& word) {
  return bad_usage(word, "which domain? A name, a domid, or -a for all");
}

void add_choice(CLI::App* command, Choice& choice, bool all) {
  CLI::Option* domains = command->add_option("DOMAIN", choice.domains, "names or domids");
  if (!all) {
    domains->required();
    return;
  }
  command->add_flag("-a,--all", choice.all, "all domains")->excludes(domains);
}

// None of them is Dom0. Each occurs once.
Result<std::vector<CreatedDomain>> chosen(HostClient& client, const Choice& choice) {
  std::vector<CreatedDomain> domains;
  if (choice.all) {
    for (const ListedDomain& listed : read_domains(*TRY(client.machine()))) {
      if (!listed.is_dying()) domains.push_back({listed.name, listed.domid});
    }
    return domains;
  }
  std::set<DomId> seen;
  for (const std::string& wanted : choice.domains) {
    const DomId domid = TRY(client.find(wanted));
    if (domid == kDom0) return fail(0, "domain 0 is the host itself (`polis host stop` ends it)");
    if (seen.insert(domid).second) domains.push_back({wanted, domid});
  }
  return domains;
}

// How it went with each of them.
struct Outcomes {
  std::vector<CreatedDomain> done;
  std::vector<std::pair<std::string, std::string>> failed;  // name, why
  bool interrupted = false;
};

// What went wrong, on stderr; with --json all of it on stdout. The exit status.
int report(const std::string& word, const Outcomes& outcomes, size_t wanted, const CommonOptions& common) {
  for (const auto& [name, why] : outcomes.failed)
    fmt::print(stderr, "polis {}: {}\n", word, printable_lines(name + ": " + why));
  if (common.json) {
    json done = json::array(), failed = json::array();
    for (const CreatedDomain& domain : outcomes.done) done.push_back({{"domid", domain.domid}, {"name", domain.name}});
    for (const auto& [name, why] : outcomes.failed) failed.push_back({{"name", name}, {"error", why}});
    fmt::print("{}\n", json{{"done", done}, {"failed", failed}}.dump(2));
  }
  if (outcomes.interrupted) {
    fmt::print(stderr, "polis {}: interrupted: it was done to {} of {} domains\n", word, outcomes.done.size(), wanted);
    return kExitInterrupted;
  }
  return outcomes.failed.empty() ? 0 : kExitFailure;
}

// The same request about each of them, which `ends` them or not. The exit status.
Result<int> ask_each(HostClient& client, const std::string& word, const std::vector<CreatedDomain>& domains,
                     const json& request, bool ends, const CommonOptions& common,
                     const std::function<void(const CreatedDomain&)>& done = {}) {
  Outcomes outcomes;
  HostClient::Series series;
  series.count = domains.size();
  series.window = kWindow;
  series.request = [&](size_t index) {
    json one = request;
    one["domid"] = domains[index].domid;
    return one;
  };
  series.answered = [&](size_t index, const Result<json>& answer) {
    if (answer) {
      outcomes.done.push_back(domains[index]);
      if (done) done(domains[index]);
    } else {
      outcomes.failed.emplace_back(domains[index].name, for_people(answer.error()));
    }
    return true;
  };
  if (ends) {
    series.repeat = [&](size_t index, auto answer) { client.request_unless_gone(series.request(index), answer); };
  }
  // Where `done` says it of each it needs no sum.
  ProgressLine progress(domains.size() > 1 && !done);
  series.tick = [&] { progress.show(fmt::format("{}: {} of {}", word, outcomes.done.size(), domains.size())); };
  TRY_VOID(client.ask_series(series));
  progress.clear();
  outcomes.interrupted = outcomes.done.size() + outcomes.failed.size() < domains.size();
  return report(word, outcomes, domains.size(), common);
}

Result<int> destroy(const Choice& choice, const CommonOptions& common) {
  if (choice.is_none()) return which_domain("destroy");
  const auto client = TRY(connect(common));
  const auto domains = TRY(chosen(*client, choice));
  return ask_each(*client, "destroy", domains, {{"op", "destroy"}}, true, common);
}

void add_destroy(CommandLine& line) {
  const auto choice = std::make_shared<Choice>();
  CLI::App* command = line.add("destroy", "End domains at once, without asking them",
                               [choice, &line] { return destroy(*choice, line.common()); });
  add_choice(command, *choice, true);
}

struct ShutdownOptions {
  Choice choice;
  bool wait = false;
  bool fallback = false;
};

Result<int> shut_down(const ShutdownOptions& options, bool reboot, const CommonOptions& common) {
  const std::string word = reboot ? "reboot" : "shutdown";
  if (options.fallback) {
    return bad_usage(word,
                     "-F sends an ACPI event, which PV domains have no use for: without it they are asked through "
                     "xenstore, and `polis destroy` ends those that do not listen");
  }
  if (options.choice.is_none()) return which_domain(word);
  const auto client = TRY(connect(common));
  std::unique_ptr<EndWatch> watch;
  if (options.wait) watch = TRY(EndWatch::start(*client, reboot));
  const auto domains = TRY(chosen(*client, options.choice));
  if (watch) {
    for (const CreatedDomain& domain : domains) watch->expect(domain.domid);
  }
  const int asked =
      TRY(ask_each(*client, word, domains, {{"op", "shutdown"}, {"reason", reboot ? "reboot" : "poweroff"}}, true,
                   common, [&](const CreatedDomain& domain) {
                     fmt::print(stderr, "{} domain {}\n", reboot ? "Rebooting" : "Shutting down", domain.domid);
                     if (watch) watch->asked(domain.domid, domain.name);
                   }));
  if (!watch || asked == kExitInterrupted) return asked;
  const bool all_ended = TRY(watch->wait());
  if (!all_ended) {
    fmt::print(stderr, "polis {}: interrupted; asked, and not ended yet: {}\n", word,
               so_many_domains(watch->awaited()));
    return kExitInterrupted;
  }
  return asked;
}

void add_shutdown(CommandLine& line, bool reboot) {
  const auto options = std::make_shared<ShutdownOptions>();
  CLI::App* command =
      line.add(reboot ? "reboot" : "shutdown", reboot ? "Ask domains to restart" : "Ask domains to power off",
               [options, reboot, &line] { return shut_down(*options, reboot, line.common()); });
  command->footer("The guest must heed control/shutdown in xenstore; what follows is its on_poweroff or on_reboot.");
  add_choice(command, options->choice, true);
  command->add_flag("-w,--wait", options->wait,
                    reboot ? "until each has started again, or ended" : "until each has ended");
  command->add_flag("-F", options->fallback, "refused: PV domains have no ACPI");
}

// A word that sends one request about each domain.
void add_simple(CommandLine& line, const std::string& word, const std::string& description) {
  const auto choice = std::make_shared<Choice>();
  CLI::App* command = line.add(word, description, [choice, word, &line]() -> Result<int> {
    if (choice->is_none()) return which_domain(word);
    const auto client = TRY(connect(line.common()));
    const auto domains = TRY(chosen(*client, *choice));
    return ask_each(*client, word, domains, {{"op", word}}, false, line.common());
  });
  add_choice(command, *choice, true);
}

// A word with a domain and one more argument, which becomes `member` of the request.
CLI::App* add_with_argument(CommandLine& line, const std::string& word, const std::string& description,
                            const std::string& argument, const std::string& help, const std::string& member) {
  const auto words = std::make_shared<std::pair<std::string, std::string>>();
  CLI::App* command = line.add(word, description, [words, word, member, &line]() -> Result<int> {
    const auto client = TRY(connect(line.common()));
    const auto domains = TRY(chosen(*client, {{words->first}}));
    return ask_each(*client, word, domains, {{"op", word}, {member, words->second}}, false, line.common());
  });
  command->add_option("DOMAIN", words->first, "name or domid")->required();
  command->add_option(argument, words->second, help)->required();
  return command;
}

}  // namespace

void add_domain(CommandLine& line) {
  add_destroy(line);
  add_shutdown(line, false);
  add_shutdown(line, true);
  add_simple(line, "pause", "Let domains run no more until they are unpaused; their events wait");
  add_simple(line, "unpause", "Let paused domains run");
  add_with_argument(line, "rename", "Give a domain another name", "NEW-NAME", "1 to 63 of A-Z a-z 0-9 . _ -", "name");
  add_with_argument(line, "sysrq", "Send a Linux guest a magic sysrq", "LETTER", "h lists them on its console", "key");
  add_with_argument(line, "trigger", "Send a domain a trigger", "TRIGGER", "nmi", "trigger");
}

}  // namespace xenopolis::cli
