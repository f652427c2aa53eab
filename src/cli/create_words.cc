// polis create.
#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "cli/command.h"
#include "cli/console_command.h"
#include "cli/creation.h"
#include "config/name_template.h"
#include "config/xl_config.h"

namespace xenopolis::cli {
namespace {

// More than these are counted, not named.
constexpr size_t kMostNamed = 20;

struct CreateOptions {
  std::vector<std::string> words;  // files and key=value
  std::vector<std::string> files;  // of -f
  std::string name;
  uint32_t count = 1;
  uint32_t start = 1;
  bool paused = false;
  bool console = false;
  bool dry_run = false;
  CreationOptions creation;
};

Result<std::vector<toolstack::DomainSpec>> read_specs(const CreateOptions& options) {
  std::vector<std::string> files = options.files;
  config::XlConfigOptions config;
  for (const std::string& word : options.words) {
    // xl's rule, but a file may have a = in its name when it is there.
    std::error_code unreachable;
    const bool is_setting = word.find('=') != std::string::npos && !std::filesystem::exists(word, unreachable);
    (is_setting ? config.overrides : files).push_back(word);
  }
  if (!options.name.empty()) config.overrides.push_back("name=" + options.name);
  std::vector<toolstack::DomainSpec> specs;
  const auto add = [&](toolstack::DomainSpec spec) -> Status {
    spec.paused = spec.paused || options.paused;
    for (auto& one : TRY(config::multiply(spec, options.count, options.start))) specs.push_back(std::move(one));
    return {};
  };
  for (const std::string& file : files) {
    const toolstack::DomainSpec spec = TRY(config::read_xl_config(file, config));
    TRY_VOID(add(spec));
  }
  if (files.empty()) {
    const toolstack::DomainSpec spec = TRY(config::parse_xl_config("", "command line", config));
    TRY_VOID(add(spec));
  }
  return specs;
}

nlohmann::json to_json(const Creation& creation) {
  nlohmann::json created = nlohmann::json::array();
  for (const CreatedDomain& domain : creation.created) {
    created.push_back({{"domid", domain.domid}, {"name", domain.name}});
  }
  nlohmann::json failed = nlohmann::json::array();
  for (const auto& [why, names] : creation.failures) {
    for (const std::string& name : names) failed.push_back({{"name", name}, {"error", why}});
  }
  return {{"created", created}, {"failed", failed}, {"seconds", creation.seconds}};
}

Status unpause(const std::string& directory, DomId domid) {
  const auto client = TRY(HostClient::connect(directory));
  TRY(client->ask({{"op", "unpause"}, {"domid", domid}}));
  return {};
}

// `starts`: the domain waits for its console, as xl does it, so that a short life is seen to its end.
Result<int> show_console(const std::string& directory, const CreatedDomain& domain, bool starts) {
  ConsoleOptions console;
  console.run_directory = directory;
  console.domain = domain.name;
  console.attached = [&]() -> Status {
    return std::exchange(starts, false) ? unpause(directory, domain.domid) : Status{};
  };
  const int status = run_console(console);
  // It could not be attached.
  if (starts) TRY_VOID(unpause(directory, domain.domid));
  return status;
}

Result<int> create(const CreateOptions& options, const CommonOptions& common) {
  if (options.console && common.json) return bad_usage("create", "--console: what it prints is no JSON");
  if (options.words.empty() && options.files.empty() && options.name.empty()) {
    return bad_usage("create", "what? A configuration file, polis.cfg(5), or at least name=NAME kernel=IMAGE");
  }
  auto specs = TRY(read_specs(options));
  if (options.console && specs.size() != 1) return bad_usage("create", "--console is for one domain");
  const bool waits_for_console = options.console && !specs.front().paused;
  if (options.dry_run) {
    nlohmann::json all = nlohmann::json::array();
    for (const auto& spec : specs) all.push_back(toolstack::to_json(spec));
    fmt::print("{}\n", all.dump(2));
    return 0;
  }
  const std::string directory = TRY(common.directory());
  Creation creation;
  {
    const auto client = TRY(HostClient::connect(directory));
    if (waits_for_console) specs.front().paused = true;
    creation = TRY(create_domains(*client, specs, options.creation));
  }
  if (common.json) {
    fmt::print("{}\n", to_json(creation).dump(2));
  } else if (!options.creation.quiet && creation.created.size() <= kMostNamed) {
    for (const CreatedDomain& domain : creation.created) fmt::print("{}: domain {}\n", domain.name, domain.domid);
  } else if (!options.creation.quiet && creation.is_complete()) {
    fmt::print("{} domains created in {:.2f} s\n", creation.created.size(), creation.seconds);
  }
  const int status = report_creation("create", creation);
  if (status != 0 || !options.console) return status;
  fflush(stdout);
  return show_console(directory, creation.created.front(), waits_for_console);
}

}  // namespace

void add_create(CommandLine& line) {
  const auto shared = std::make_shared<CreateOptions>();
  CreateOptions& options = *shared;
  CLI::App* command = line.add("create", "Create domains from configuration files as xl has them",
                               [shared, &line] { return create(*shared, line.common()); });
  command->footer(
      "Settings (memory=64) are read behind each file, as by xl. Without a file they are all that there is.\n"
      "Ctrl-C: no more are created; those that were stay, or with --all-or-nothing go.\n"
      "Exit status: 0 if all were created, 1 if not, 130 after Ctrl-C.");
  command->add_option("FILE|KEY=VALUE", options.words, "configuration files (polis.cfg(5), - is stdin), and settings");
  command->add_option("-f,--defconfig", options.files, "one more configuration file")->type_name("FILE");
  command->add_option("--name", options.name, "name, or template for names: web-{} or web-{:04}")
      ->type_name("TEMPLATE");
  command->add_option("--count", options.count, "so many of each file; NAME-1, NAME-2... without a template")
      ->check(CLI::Range(1u, config::kMaxCount))
      ->capture_default_str();
  command->add_option("--start", options.start, "number of the first name")->capture_default_str();
  command->add_flag("-p,--paused", options.paused, "let them wait for `polis unpause`");
  command->add_flag("-c,--console", options.console, "attach to the console, then let it run");
  command->add_flag("--all-or-nothing", options.creation.all_or_nothing,
                    "when one cannot be created, destroy those that were");
  command->add_option("--window", options.creation.window, "domains created at the same time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_flag("-n,--dryrun", options.dry_run, "only read and check, and print what would be created");
  command->add_flag("-q,--quiet", options.creation.quiet, "no progress, no list of what was created");
}

}  // namespace xenopolis::cli
