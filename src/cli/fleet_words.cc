// polis up, polis down.
#include <fmt/format.h>

#include <set>

#include "cli/command.h"
#include "cli/creation.h"
#include "cli/domain_list.h"
#include "cli/end_watch.h"
#include "cli/host_process.h"
#include "cli/run_directory.h"
#include "config/fleet.h"

namespace xenopolis::cli {
namespace {

using nlohmann::json;

// What the command line says goes before what the file says.
Result<std::string> directory_for(const config::Fleet& fleet, const CommonOptions& common) {
  if (fleet.host.name && common.host.empty() && common.run_directory.empty())
    return directory_of_host(*fleet.host.name);
  return common.directory();
}

struct UpOptions {
  std::string file;
  bool dry_run = false;
  CreationOptions creation;
};

// The fleet's domains that there are not.
Result<std::vector<toolstack::DomainSpec>> missing(HostClient& client, const config::Fleet& fleet) {
  std::set<std::string> there;
  for (const ListedDomain& domain : read_domains(*TRY(client.machine()))) there.insert(domain.name);
  std::vector<toolstack::DomainSpec> specs;
  for (const toolstack::DomainSpec& spec : fleet.domains) {
    if (!there.contains(spec.name)) specs.push_back(spec);
  }
  return specs;
}

Status start_for(const config::Fleet& fleet, const std::string& directory, bool quiet) {
  HostStart start{directory, {}};
  if (fleet.host.backend) start.arguments.insert(start.arguments.end(), {"--backend", *fleet.host.backend});
  if (fleet.host.event_abi) start.arguments.insert(start.arguments.end(), {"--event-abi", *fleet.host.event_abi});
  TRY_VOID(start_host(start));
  if (!quiet) fmt::print("host started in {}\n", directory);
  return {};
}

// A host that runs already may be another than the file wants.
void compare_host(const config::Fleet& fleet, const json& info) {
  const auto complain = [](const char* what, const std::optional<std::string>& wanted, const std::string& is) {
    if (!wanted || *wanted == "auto" || *wanted == is) return;
    fmt::print(stderr, "polis up: the host runs already, with {} {} and not {}\n", what, is, *wanted);
  };
  complain("backend", fleet.host.backend, info.value("backend", ""));
  complain("event channels", fleet.host.event_abi, info.value("event_abi", ""));
}

Result<int> up(const UpOptions& options, const CommonOptions& common) {
  const config::Fleet fleet = TRY(config::read_fleet(options.file));
  if (options.dry_run) {
    json all = json::array();
    for (const auto& spec : fleet.domains) all.push_back(toolstack::to_json(spec));
    fmt::print("{}\n", all.dump(2));
    return 0;
  }
  const std::string directory = TRY(directory_for(fleet, common));
  const bool quiet = options.creation.quiet || common.json;
  const bool was_running = is_running(directory);
  if (!was_running) TRY_VOID(start_for(fleet, directory, quiet));
  const auto client = TRY(HostClient::connect(directory));
  if (was_running) compare_host(fleet, TRY(client->ask({{"op", "info"}})));
  const auto specs = TRY(missing(*client, fleet));
  const Creation creation = TRY(create_domains(*client, specs, options.creation));
  const size_t there = fleet.domains.size() - specs.size();
  if (common.json) {
    fmt::print("{}\n",
               json{{"created", creation.created.size()}, {"there", there}, {"wanted", fleet.domains.size()}}.dump(2));
  } else if (!quiet) {
    fmt::print("{} created in {:.2f} s{}\n", so_many_domains(creation.created.size()), creation.seconds,
               there == 0 ? "" : fmt::format(", {} were there", there));
  }
  return report_creation("up", creation);
}

void add_up(CommandLine& line) {
  const auto shared = std::make_shared<UpOptions>();
  UpOptions& options = *shared;
  CLI::App* command = line.add("up", "Bring up a fleet: the host, and those of its domains that there are not",
                               [shared, &line] { return up(*shared, line.common()); });
  command->footer("Exit status: 0 if the whole fleet is there, 1 if not, 130 after Ctrl-C.");
  command->add_option("FILE", options.file, "of the fleet, polis-fleet(5)")->required();
  command->add_flag("--all-or-nothing", options.creation.all_or_nothing,
                    "when one cannot be created, destroy those that were");
  command->add_option("--window", options.creation.window, "domains created at the same time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_flag("-n,--dryrun", options.dry_run, "only read and check, and print the domains");
  command->add_flag("-q,--quiet", options.creation.quiet, "no progress, no summary");
}

struct DownOptions {
  std::string file;
  bool shutdown = false;
  bool host = false;
};

// Asks all of them and waits for their ends.
Status shut_down(HostClient& client, const std::vector<CreatedDomain>& domains) {
  const auto watch = TRY(EndWatch::start(client, false));
  for (const CreatedDomain& domain : domains) watch->expect(domain.domid);
  HostClient::Series series;
  series.count = domains.size();
  series.window = 256;
  series.request = [&](size_t index) {
    return json{{"op", "shutdown"}, {"domid", domains[index].domid}, {"reason", "poweroff"}};
  };
  series.repeat = [&](size_t index, auto answer) { client.request_unless_gone(series.request(index), answer); };
  series.answered = [&](size_t index, const Result<json>& answer) {
    if (answer) watch->asked(domains[index].domid, domains[index].name);
    return true;
  };
  TRY_VOID(client.ask_series(series));
  TRY(watch->wait());
  return {};
}

Result<int> down(const DownOptions& options, const CommonOptions& common) {
  config::Fleet fleet;
  if (!options.file.empty()) fleet = TRY(config::read_fleet(options.file));
  const std::string directory = TRY(directory_for(fleet, common));
  const auto client = TRY(HostClient::connect(directory));
  std::set<std::string> wanted;
  for (const auto& spec : fleet.domains) wanted.insert(spec.name);
  std::vector<CreatedDomain> domains;
  for (const ListedDomain& listed : read_domains(*TRY(client->machine()))) {
    if (options.file.empty() || wanted.contains(listed.name)) domains.push_back({listed.name, listed.domid});
  }
  if (options.shutdown) TRY_VOID(shut_down(*client, domains));
  if (client->interrupted() != 0) {
    fmt::print(stderr, "polis down: interrupted: those that have not heeded it live on\n");
    return kExitInterrupted;
  }
  const auto problems = TRY(destroy_domains(*client, domains, common.json));
  print_problems("down", problems);
  const size_t ended = domains.size() - count_of(problems);
  if (common.json) {
    fmt::print("{}\n", json{{"ended", ended}, {"failed", count_of(problems)}}.dump(2));
  } else {
    fmt::print("{} ended\n", so_many_domains(ended));
  }
  if (client->interrupted() != 0) return kExitInterrupted;
  if (!problems.empty()) return kExitFailure;
  if (options.host) {
    const uint64_t others = TRY(client->ask({{"op", "info"}})).value("domains", uint64_t{0});
    if (others != 0)
      return fail(0, fmt::format("the host goes on, for {} that the file does not name", so_many_domains(others)));
    TRY_VOID(stop_host(*client));
  }
  return 0;
}

void add_down(CommandLine& line) {
  const auto options = std::make_shared<DownOptions>();
  CLI::App* command = line.add("down", "End a fleet's domains, or all that there are",
                               [options, &line] { return down(*options, line.common()); });
  command->add_option("FILE", options->file, "of the fleet, polis-fleet(5); without it all domains are ended");
  command->add_flag("--shutdown", options->shutdown,
                    "ask them to power off, and wait for it, instead of destroying them");
  command->add_flag("--stop-host", options->host, "end the host, too, when no other domain lives there");
}

}  // namespace

void add_fleet(CommandLine& line) {
  add_up(line);
  add_down(line);
}

}  // namespace xenopolis::cli
