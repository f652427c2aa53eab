// Xenstore daemons side by side: polis-xenstored and Xen's C xenstored, under the same load in the same run.
#include <algorithm>

#include "common/basics.h"
#include "common/command_line.h"
#include "run.h"

namespace xenopolis::bench {
namespace {

bool is_among(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

// Those that are asked for and there.
std::vector<Kind> choose_daemons(const std::vector<std::string>& names, const std::string& ours, const std::string& c,
                                 const std::string& socket) {
  std::vector<Kind> kinds;
  if (!socket.empty()) kinds.push_back(running_kind(socket));
  if (is_among(names, "ours")) kinds.push_back(our_kind(ours));
  if (is_among(names, "c")) {
    if (auto kind = c_kind(c)) {
      kinds.push_back(*std::move(kind));
    } else {
      complain(
          "{} is not there, so nothing is measured beside it; on Debian 12:\n"
          "  apt-get install --no-install-recommends xen-utils-4.17",
          c);
    }
  }
  return kinds;
}

}  // namespace
}  // namespace xenopolis::bench

int main(int argc, char** argv) {
  using namespace xenopolis::bench;
  CLI::App app("Xenstore daemons side by side, under the same load in the same run");
  Options options;
  Presentation presentation;
  std::string socket;
  std::string ours = BENCH_POLIS_XENSTORED, c = "/usr/lib/xen-4.17/bin/xenstored";
  std::vector<std::string> daemons = {"ours", "c"};
  presentation.add_options(app, "one short round with few guests, watches and connections: under 15 s");
  app.add_option("--daemons", daemons, "only these: ours, c")->delimiter(',')->check(CLI::IsMember({"ours", "c"}));
  app.add_option("--polis-xenstored", ours, "the program that is ours")->capture_default_str();
  app.add_option("--c-xenstored", c, "the C daemon's program")->capture_default_str();
  app.add_option("--socket", socket, "a running daemon besides: what needs no guests");
  app.add_option("--measurements", options.measurements,
                 "only these: requests, directory, watches, connections, guests")
      ->delimiter(',')
      ->check(CLI::IsMember({"requests", "directory", "watches", "connections", "guests"}));
  const auto number_option = [&](const char* name, std::vector<uint32_t>& numbers, uint32_t least, uint32_t most,
                                 const char* what) {
    return app.add_option(name, numbers, what)->delimiter(',')->check(CLI::Range(least, most));
  };
  auto* clients = number_option("--clients", options.clients, 1, 1'000, "clients in conflict");
  auto* children = number_option("--children", options.children, 0, 100'000, "children of one directory");
  auto* watches = number_option("--watches", options.watches, 0, 1'000'000, "numbers of watches");
  auto* connections = number_option("--connections", options.connections, 0, 19'000, "numbers of idle connections");
  auto* guests = number_option("--guests", options.guests, 0, 30'000, "numbers of guests introduced");
  auto* rounds = app.add_option("--rounds", options.rounds.rounds, "repetitions, each through everything")
                     ->check(CLI::Range(1, 1000));
  auto* seconds = app.add_option("--seconds", options.rounds.seconds, "that most measurements take per repetition");
  app.add_option("--patience", options.rounds.patience_s, "seconds after which a daemon that is not set up is left out")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (presentation.quick) {
    if (!*rounds) options.rounds.rounds = 1;
    if (!*seconds) options.rounds.seconds = 0.02;
    if (!*clients) options.clients = {4};
    if (!*children) options.children = {1'000};
    if (!*watches) options.watches = {10, 1'000};
    if (!*connections) options.connections = {0, 100};
    if (!*guests) options.guests = {0, 10, 100};
  }
  const auto draw = [](const nlohmann::json& figures, const std::string& directory) {
    return draw_plots(figures, directory);
  };
  if (!presentation.from_file.empty()) return presentation.present({}, print_tables, draw);
  options.daemons = choose_daemons(daemons, ours, c, socket);
  if (options.daemons.empty()) return 1;
  return with_directory([&](const std::string& directory) {
    options.directory = directory;
    return presentation.present([&] { return run(options); }, print_tables, draw);
  });
}
