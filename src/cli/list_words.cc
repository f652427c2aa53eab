// What there is: list, domid, domname, uptime, vcpu-list, event-channels, info.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/domain_list.h"
#include "cli/host_client.h"
#include "cli/host_facts.h"
#include "cli/times.h"

namespace xenopolis::cli {
namespace {

using nlohmann::json;

void print_json(const json& value) {
  const std::string text = value.dump(2, ' ', false, json::error_handler_t::replace);
  fwrite(text.data(), 1, text.size(), stdout);
  fputc('\n', stdout);
}

// All of them, or those that are named; Dom0 (named "0" or "Domain-0") has no record and is reported apart.
struct Listing {
  bool dom0 = false;
  std::vector<ListedDomain> domains;
};

Result<Listing> listing(HostClient& client, const std::vector<std::string>& wanted) {
  const machine::Machine& machine = *TRY(client.machine());
  if (wanted.empty()) return Listing{true, read_domains(machine)};
  Listing listing;
  for (const std::string& name : wanted) {
    const DomId domid = TRY(client.find(name));
    if (domid == kDom0) {
      listing.dom0 = true;
      continue;
    }
    // Looking at a record where none ever was would make it take memory.
    if (as_domid(name)) TRY(client.ask({{"op", "domain"}, {"domid", domid}}));
    ListedDomain listed = read_domain(domid);
    if (listed.state != domain::State::kFree) listing.domains.push_back(std::move(listed));
  }
  return listing;
}

struct ListOptions {
  std::vector<std::string> domains;
  bool details = false;
  bool verbose = false;
  bool names = false;
};

// A row as `xl list` has it.
void append_row(std::string& text, const ListedDomain& domain, bool verbose) {
  fmt::format_to(std::back_inserter(text), "{:<40} {:5} {:5} {:5}     {}  {:8.1f}", domain.name, domain.domid,
                 domain.memory_kib / 1024, domain.vcpus, state_letters(domain),
                 static_cast<double>(domain.cpu_time_ns) / 1e9);
  if (verbose) {
    fmt::format_to(std::back_inserter(text), " {} {:>8} {:>16}", toolstack::to_text(domain.uuid),
                   domain.has_shut_down() ? fmt::format("{:x}", domain.shutdown_reason) : "-", "-");
  }
  text.push_back('\n');
}

// As `xl list -l`: what they were created from.
Result<json> details_of(HostClient& client, const std::vector<ListedDomain>& domains) {
  std::vector<json> details(domains.size());
  HostClient::Series series;
  series.count = domains.size();
  series.window = 256;
  series.request = [&](size_t index) { return json{{"op", "domain"}, {"domid", domains[index].domid}}; };
  series.answered = [&](size_t index, const Result<json>& answer) {
    if (!answer) return true;  // it has ended meanwhile
    json& one = details[index] = *answer;
    for (const char* member : {"id", "ok"}) one.erase(member);
    one["config"] = one["configuration"];
    one.erase("configuration");
    return true;
  };
  TRY_VOID(client.ask_series(series));
  if (client.interrupted() != 0) return fail(0, "interrupted");
  json all = json::array();
  for (json& one : details) {
    if (!one.is_null()) all.push_back(std::move(one));
  }
  return all;
}

Result<int> list(const ListOptions& options, const CommonOptions& common) {
  const auto client = TRY(connect(common));
  const Listing listed = TRY(listing(*client, options.domains));
  if (options.details) {
    print_json(TRY(details_of(*client, listed.domains)));
    return 0;
  }
  if (common.json) {
    json all = json::array();
    for (const ListedDomain& domain : listed.domains) all.push_back(to_json(domain));
    print_json(all);
    return 0;
  }
  std::string text;
  if (options.names) {
    for (const ListedDomain& domain : listed.domains) text += domain.name + "\n";
  } else {
    text = "Name                                        ID   Mem VCPUs\tState\tTime(s)";
    text += options.verbose ? "   UUID                            Reason-Code\tSecurity Label\n" : "\n";
    if (listed.dom0) append_row(text, TRY(describe_dom0(*client)), options.verbose);
    for (const ListedDomain& domain : listed.domains) append_row(text, domain, options.verbose);
  }
  fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

void add_list(CommandLine& line) {
  const auto options = std::make_shared<ListOptions>();
  CLI::App* command = line.add("list", "List domains", [options, &line] { return list(*options, line.common()); });
  command->footer(
      "State: r runs, b waits for an event, p paused, s has shut down (then why: r reboot, s suspend, c crash, w\n"
      "watchdog), d is dying; only dashes: it would run if it had a CPU. Domain-0 is the host; JSON and names leave it "
      "out.");
  command->add_option("DOMAIN", options->domains, "names or domids; all if there is none");
  command->add_flag("-l,--long", options->details, "what they were created from, as JSON");
  command->add_flag("-v,--verbose", options->verbose, "UUIDs and the reasons of shutdowns, too");
  command->add_flag("--names", options->names, "names only");
}

void add_domid(CommandLine& line) {
  const auto name = std::make_shared<std::string>();
  line.add("domid", "Print a domain's domid",
           [name, &line]() -> Result<int> {
             const auto client = TRY(connect(line.common()));
             DomId domid = kDom0;
             if (*name != "Domain-0") {
               domid = TRY(client->ask({{"op", "domain"}, {"name", *name}})).at("domid").get<DomId>();
             }
             line.common().json ? print_json({{"domid", domid}, {"name", *name}}) : fmt::print("{}\n", domid);
             return 0;
           })
      ->add_option("NAME", *name, "of the domain")
      ->required();
}

void add_domname(CommandLine& line) {
  const auto domid = std::make_shared<uint32_t>();
  line.add("domname", "Print a domain's name",
           [domid, &line]() -> Result<int> {
             const auto client = TRY(connect(line.common()));
             std::string name = "Domain-0";
             if (*domid != 0) name = TRY(client->ask({{"op", "domain"}, {"domid", *domid}})).at("name");
             line.common().json ? print_json({{"domid", *domid}, {"name", name}}) : fmt::print("{}\n", name);
             return 0;
           })
      ->add_option("DOMID", *domid, "of the domain")
      ->required();
}

struct UptimeOptions {
  std::vector<std::string> domains;
  bool is_short = false;
};

Result<int> uptime(const UptimeOptions& options, const CommonOptions& common) {
  const auto client = TRY(connect(common));
  Listing listed = TRY(listing(*client, options.domains));
  if (listed.dom0) listed.domains.insert(listed.domains.begin(), TRY(describe_dom0(*client)));
  const int64_t now_s = time(nullptr);
  json all = json::array();
  if (!common.json && !options.is_short) fmt::print("{:<33} {:>4} {}\n", "Name", "ID", "Uptime");
  for (const ListedDomain& domain : listed.domains) {
    const int64_t seconds = std::max<int64_t>(now_s - domain.started_s, 0);
    if (common.json) {
      all.push_back({{"domid", domain.domid}, {"name", domain.name}, {"uptime_s", seconds}});
    } else if (options.is_short) {
      fmt::print(" {} up {}, {} ({})\n", clock_text(now_s), short_uptime_text(seconds), domain.name, domain.domid);
    } else {
      fmt::print("{:<33} {:4} {}\n", domain.name, domain.domid, uptime_text(seconds));
    }
  }
  if (common.json) print_json(all);
  return 0;
}

void add_uptime(CommandLine& line) {
  const auto options = std::make_shared<UptimeOptions>();
  CLI::App* command = line.add("uptime", "Print how long domains have run",
                               [options, &line] { return uptime(*options, line.common()); });
  command->add_option("DOMAIN", options->domains, "names or domids; all if there is none");
  command->add_flag("-s", options->is_short, "in the words of uptime(1)");
}

Result<int> vcpu_list(const std::vector<std::string>& domains, const CommonOptions& common) {
  const auto client = TRY(connect(common));
  const Listing listed = TRY(listing(*client, domains));
  if (listed.dom0 && !domains.empty()) return fail(0, "Domain-0 is the host: what runs it are processes, no vCPUs");
  json all = json::array();
  std::string text = fmt::format("{:<32} {:>5} {:>5} {:>5} {:>5} {:>9} {}\n", "Name", "ID", "VCPU", "CPU", "State",
                                 "Time(s)", "Affinity (Hard / Soft)");
  for (const ListedDomain& domain : listed.domains) {
    const std::string letters = state_letters(domain);
    if (common.json) {
      all.push_back({{"domid", domain.domid},
                     {"name", domain.name},
                     {"vcpu", 0},
                     {"online", domain.state == domain::State::kRunning},
                     {"paused", domain.paused},
                     {"cpu_time_ns", domain.cpu_time_ns}});
      continue;
    }
    const bool is_online = domain.state == domain::State::kRunning;
    fmt::format_to(std::back_inserter(text), "{:<32} {:5} {:5} {:>5} {:>3}{}{} {:9.1f}  all / all\n", domain.name,
                   domain.domid, 0, "-", is_online ? letters[0] : '-', is_online ? letters[1] : '-',
                   is_online ? '-' : 'p', static_cast<double>(domain.cpu_time_ns) / 1e9);
  }
  if (common.json) {
    print_json(all);
  } else {
    fwrite(text.data(), 1, text.size(), stdout);
  }
  return 0;
}

void add_vcpu_list(CommandLine& line) {
  const auto domains = std::make_shared<std::vector<std::string>>();
  CLI::App* command = line.add("vcpu-list", "List the vCPUs of domains",
                               [domains, &line] { return vcpu_list(*domains, line.common()); });
  command->footer(
      "Each domain has one. Its cell runs it on whatever CPU the kernel gives it: none is shown. Domain-0 has none.");
  command->add_option("DOMAIN", *domains, "names or domids; all if there is none");
}

Result<int> event_channels(const std::string& domain, const CommonOptions& common) {
  const auto client = TRY(connect(common));
  const DomId domid = TRY(client->find(domain));
  json all;
  for (json answer{{"next", 1}}; answer.contains("next");) {
    answer = TRY(client->ask({{"op", "event_channels"}, {"domid", domid}, {"from", answer["next"]}}));
    if (all.is_null()) {
      all = answer;
    } else {
      for (json& port : answer["ports"]) all["ports"].push_back(std::move(port));
    }
  }
  for (const char* member : {"id", "ok", "next"}) all.erase(member);
  if (common.json) {
    print_json(all);
    return 0;
  }
  std::string text = fmt::format("{}, ports up to {}; {} open, {} events sent, {} delivered\n", all.value("abi", "?"),
                                 all.value("max_port", 0), all.value("open_ports", 0), all.value("events_sent", 0ull),
                                 all.value("events_delivered", 0ull));
  fmt::format_to(std::back_inserter(text), "{:>6} {:<12} {:>6} {:>6} {:>4} {:>4} {:>4} {}\n", "Port", "State", "Domain",
                 "Port", "VIRQ", "VCPU", "Prio", "Flags");
  const auto number = [](const json& port, const char* member) {
    return port.contains(member) ? port[member].dump() : std::string("-");
  };
  for (const json& port : all["ports"]) {
    std::string flags;
    if (port.value("pending", false)) flags += "pending";
    if (port.value("masked", false)) flags += flags.empty() ? "masked" : ",masked";
    std::string state = port.value("state", "");
    fmt::format_to(std::back_inserter(text), "{:>6} {:<12} {:>6} {:>6} {:>4} {:>4} {:>4} {}\n", number(port, "port"),
                   state, number(port, "remote_domid"), number(port, "remote_port"), number(port, "virq"),
                   number(port, "vcpu"), number(port, "priority"), flags.empty() ? "-" : flags);
  }
  fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

void add_event_channels(CommandLine& line) {
  const auto domain = std::make_shared<std::string>();
  line.add("event-channels", "List a domain's event channels",
           [domain, &line] { return event_channels(*domain, line.common()); })
      ->add_option("DOMAIN", *domain, "name or domid")
      ->required();
}

Result<int> info(const std::string& name, const CommonOptions& common) {
  const auto client = TRY(connect(common));
  // xl's rule: the beginning of a name is enough, all that begin so are printed.
  std::vector<Fact> facts = TRY(host_facts(*client));
  std::erase_if(facts, [&](const Fact& fact) { return !fact.name.starts_with(name); });
  if (facts.empty()) return fail(0, fmt::format("nothing is called {} (without it all is printed)", name));
  if (common.json) {
    json answer = TRY(client->ask({{"op", "info"}}));
    for (const char* member : {"id", "ok"}) answer.erase(member);
    json& all = answer["facts"] = json::object();
    for (const Fact& fact : facts) all[fact.name] = fact.value;
    print_json(name.empty() ? answer : all);
    return 0;
  }
  for (const Fact& fact : facts) {
    name.empty() ? fmt::print("{:<22} : {}\n", fact.name, fact.value) : fmt::print("{}\n", fact.value);
  }
  return 0;
}

void add_info(CommandLine& line) {
  const auto name = std::make_shared<std::string>();
  line.add("info", "Print what is known of the host", [name, &line] { return info(*name, line.common()); })
      ->add_option("NAME", *name, "only what is called so, the value alone");
}

}  // namespace

void add_queries(CommandLine& line) {
  add_list(line);
  add_domid(line);
  add_domname(line);
  add_uptime(line);
  add_vcpu_list(line);
  add_event_channels(line);
  add_info(line);
}

}  // namespace xenopolis::cli
