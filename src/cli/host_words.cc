// polis host start|stop|status, polis env.
#include <fmt/format.h>

#include <filesystem>

#include "cli/command.h"
#include "cli/host_facts.h"
#include "cli/host_process.h"
#include "cli/run_directory.h"
#include "event/event_channels.h"

namespace xenopolis::cli {
namespace {

using nlohmann::json;

// As the init scripts of the LSB have it for `status`: it does not run.
constexpr int kExitNotRunning = 3;

std::string name_of(const std::string& directory) {
  return std::filesystem::path(directory).lexically_normal().filename().string();
}

// --name is the same as --host here.
Result<std::string> directory_of(const std::string& name, const CommonOptions& common) {
  if (name.empty()) return common.directory();
  if (!common.host.empty() || !common.run_directory.empty())
    return fail(0, "--name, --host and --run-dir: one of them");
  return directory_of_host(name);
}

void add_name(CLI::App* command, std::string& name) {
  command->add_option("--name", name, "of the host, as --host")->type_name("NAME");
}

struct StartOptions {
  std::string name;
  bool foreground = false;
  // polisd's; empty: its defaults.
  std::string backend, event_abi, domains_per_cell, reserve_mib, log_level, log_format;
  std::string console_log_max_bytes, console_log_keep;
  bool console_timestamps = false;
  std::vector<std::string> others;
};

Result<int> start(const StartOptions& options, const CommonOptions& common) {
  HostStart host;
  host.run_directory = TRY(directory_of(options.name, common));
  const std::pair<const char*, const std::string&> given[] = {
      {"--backend", options.backend},
      {"--event-abi", options.event_abi},
      {"--domains-per-cell", options.domains_per_cell},
      {"--reserve-mib", options.reserve_mib},
      {"--log-level", options.log_level},
      {"--log-format", options.log_format},
      {"--console-log-max-bytes", options.console_log_max_bytes},
      {"--console-log-keep", options.console_log_keep}};
  for (const auto& [option, value] : given) {
    if (!value.empty()) host.arguments.insert(host.arguments.end(), {option, value});
  }
  if (options.console_timestamps) host.arguments.push_back("--console-timestamps");
  host.arguments.insert(host.arguments.end(), options.others.begin(), options.others.end());
  if (options.foreground) return tl::make_unexpected(become_host(host));
  const Status started = start_host(host);
  const bool was_running = !started && started.error().code == EEXIST;
  if (was_running) {
    fmt::print(stderr, "polis host start: host {} runs already ({}); it stays as it was started\n",
               name_of(host.run_directory), host.run_directory);
    if (!common.json) return 0;
  } else {
    TRY_VOID(started);
  }
  const auto client = TRY(HostClient::connect(host.run_directory));
  json info = TRY(client->ask({{"op", "info"}}));
  if (common.json) {
    for (const char* member : {"id", "ok"}) info.erase(member);
    fmt::print("{}\n", info.dump(2));
  } else {
    fmt::print("host {} runs in {}\n", name_of(host.run_directory), host.run_directory);
    fmt::print("backend {} ({}), event channels {}\n", info.value("backend", ""), info.value("backend_why", ""),
               info.value("event_abi", ""));
  }
  return 0;
}

void add_start(CommandLine& line, CLI::App* group) {
  const auto shared = std::make_shared<StartOptions>();
  StartOptions& options = *shared;
  CLI::App* command = line.add_to(group, "start", "Start a host in the background",
                                  [shared, &line] { return start(*shared, line.common()); });
  command->footer(
      "It writes what happens to polisd.log in its directory. What stands behind -- goes to polisd(8) as it is.");
  add_name(command, options.name);
  command->add_flag("--foreground", options.foreground, "become the host, for service managers; messages go to stderr");
  command->add_option("--backend", options.backend, "auto, kvm or hosted (no isolation); else auto")
      ->check(CLI::IsMember({"auto", "kvm", "hosted"}));
  command->add_option("--event-abi", options.event_abi, "Dom0's event channel ABI: fifo, 3l or 2l; else fifo")
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(event::kAbiNames), std::end(event::kAbiNames))));
  command->add_option("--domains-per-cell", options.domains_per_cell, "domains that share a process, 1 to 64; else 64")
      ->check(CLI::Range(1, 64));
  command->add_option("--reserve-mib", options.reserve_mib, "host memory to keep free, in MiB")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--console-timestamps", options.console_timestamps, "in front of each line of a console's log");
  command
      ->add_option("--console-log-max-bytes", options.console_log_max_bytes,
                   "length at which a console's log is rotated; else never")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--console-log-keep", options.console_log_keep, "rotated logs that are kept of a console")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--log-level", options.log_level, "error, warn, info or debug; else info")
      ->check(CLI::IsMember({"error", "warn", "info", "debug"}));
  command->add_option("--log-format", options.log_format, "text, or json: an object for each line; else text")
      ->check(CLI::IsMember({"text", "json"}));
  command->add_option("POLISD-OPTION", options.others, "behind --: more options of polisd");
}

struct StopOptions {
  std::string name;
  bool force = false;
};

Result<int> stop(const StopOptions& options, const CommonOptions& common) {
  const std::string directory = TRY(directory_of(options.name, common));
  const auto client = HostClient::connect(directory);
  if (!client) {
    if (client.error().code != 0) return tl::make_unexpected(client.error());
    fmt::print(stderr, "polis host stop: no host runs in {}\n", directory);
    if (common.json) fmt::print("{}\n", json{{"run_dir", directory}, {"domains", 0}, {"was_running", false}}.dump(2));
    return 0;
  }
  const uint64_t domains = TRY((*client)->ask({{"op", "info"}})).value("domains", uint64_t{0});
  if (domains != 0 && !options.force) {
    return fail(0, fmt::format("{} there (`polis shutdown -aw` asks for an end, --force ends all with the host)",
                               so_many_domains(domains)));
  }
  TRY_VOID(stop_host(**client));
  if (common.json) {
    fmt::print("{}\n", json{{"run_dir", directory}, {"domains", domains}, {"was_running", true}}.dump(2));
  } else {
    fmt::print("host {} has ended\n", name_of(directory));
  }
  return 0;
}

void add_stop(CommandLine& line, CLI::App* group) {
  const auto options = std::make_shared<StopOptions>();
  CLI::App* command = line.add_to(group, "stop", "End a host and all its processes",
                                  [options, &line] { return stop(*options, line.common()); });
  add_name(command, options->name);
  command->add_flag("-f,--force", options->force, "with the domains that live there");
}

struct StatusOptions {
  std::string name;
  bool all = false;
};

Result<json> status_of(const std::string& directory) {
  json status{{"name", name_of(directory)}, {"run_dir", directory}, {"running", is_running(directory)}};
  if (!status["running"].get<bool>()) return status;
  const auto client = TRY(HostClient::connect(directory));
  const json info = TRY(client->ask({{"op", "info"}}));
  for (const auto& [member, value] : info.items()) {
    if (member != "id" && member != "ok" && member != "run_dir") status[member] = value;
  }
  return status;
}

Result<int> print_status(const StatusOptions& options, const CommonOptions& common) {
  if (options.all) {
    json all = json::array();
    for (const std::string& directory : running_hosts()) all.push_back(TRY(status_of(directory)));
    if (common.json) {
      fmt::print("{}\n", all.dump(2));
      return 0;
    }
    fmt::print("{:<20} {:>7} {:<8} {:<5} {}\n", "Name", "Domains", "Backend", "ABI", "Directory");
    for (const json& one : all) {
      fmt::print("{:<20} {:>7} {:<8} {:<5} {}\n", one.value("name", ""), one.value("domains", 0),
                 one.value("backend", ""), one.value("event_abi", ""), one.value("run_dir", ""));
    }
    return 0;
  }
  const std::string directory = TRY(directory_of(options.name, common));
  const json status = TRY(status_of(directory));
  const bool runs = status.value("running", false);
  if (common.json) {
    fmt::print("{}\n", status.dump(2));
  } else if (!runs) {
    fmt::print("host {} does not run ({})\n", name_of(directory), directory);
  } else {
    fmt::print("host {} runs in {}\n", name_of(directory), directory);
    const auto client = TRY(HostClient::connect(directory));
    for (const Fact& fact : TRY(host_facts(*client))) fmt::print("  {:<20} {}\n", fact.name, fact.value);
    for (const auto& [name, pid] : status["processes"].items()) {
      if (pid.is_number()) fmt::print("  {:<20} process {}\n", name, pid.get<int>());
    }
  }
  return runs ? 0 : kExitNotRunning;
}

void add_status(CommandLine& line, CLI::App* group) {
  const auto options = std::make_shared<StatusOptions>();
  CLI::App* command = line.add_to(group, "status", "Say whether a host runs, and how",
                                  [options, &line] { return print_status(*options, line.common()); });
  command->footer("Exit status: 0 if it runs, 3 if not.");
  add_name(command, options->name);
  command->add_flag("-a,--all", options->all, "a table of those that run below $XDG_RUNTIME_DIR/xenopolis");
}

// For a shell, whatever is in it.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      result += c;
    }
  }
  return result + "'";
}

Result<int> print_environment(bool unset, const CommonOptions& common) {
  const std::string directory = std::filesystem::absolute(TRY(common.directory())).lexically_normal().string();
  const std::pair<const char*, std::string> variables[] = {{"POLIS_RUN_DIR", directory},
                                                           {"XENSTORED_PATH", directory + "/xenstored.sock"}};
  json all = json::object();
  for (const auto& [name, value] : variables) {
    if (common.json) {
      all[name] = value;
    } else if (unset) {
      fmt::print("unset {}\n", name);
    } else {
      fmt::print("export {}={}\n", name, quoted(value));
    }
  }
  if (common.json) fmt::print("{}\n", all.dump(2));
  return 0;
}

}  // namespace

void add_host(CommandLine& line) {
  CLI::App* group = line.add_group("host", "Start and stop hosts");
  add_start(line, group);
  add_stop(line, group);
  add_status(line, group);
  const auto unset = std::make_shared<bool>(false);
  CLI::App* env = line.add("env", "Print what points other programs at a host: eval \"$(polis env)\"",
                           [unset, &line] { return print_environment(*unset, line.common()); });
  env->footer("POLIS_RUN_DIR is for polis, XENSTORED_PATH for xenstore-ls and all others that use libxenstore.");
  env->add_flag("--unset", *unset, "print what takes it back");
}

}  // namespace xenopolis::cli
