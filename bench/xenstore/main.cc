// Xenstore daemons side by side: polis-xenstored and Xen's C xenstored, under the same load in the same run.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>

#include "../environment.h"
#include "basics.h"
#include "plots.h"
#include "run.h"
#include "tables.h"

namespace xenopolis::bench {
namespace {

volatile sig_atomic_t child = 0;

// What is left of the workers' daemons, if one of them was a script that started another program.
void kill_children() {
  std::ifstream file(fmt::format("/proc/self/task/{}/children", getpid()));
  for (pid_t pid = 0; file >> pid;) kill(pid, SIGKILL);
}

// Runs `body` in a child, whose exit status it returns, with a directory that is gone afterwards however the child
// ends.
template <class Body>
int with_directory(Body&& body) {
  // In memory where possible: what the daemons write there stands for memory that they share.
  std::string directory = (access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") + std::string("/bench-xenstore.XXXXXX");
  if (mkdtemp(directory.data()) == nullptr) give_up("no directory can be made: {}", directory);
  const pid_t parent = getpid();
  // Workers and daemons end with those who started them, and are waited for here.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  child = fork();
  require(child >= 0, "a process can be had");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    std::exit(body(directory));
  }
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    signal(number, [](int) {
      if (child > 0) kill(child, SIGKILL);
    });
  }
  int status = 0;
  for (int ended = 0; ended >= 0 || errno == EINTR;) {
    int one = 0;
    ended = waitpid(-1, &one, 0);
    if (ended == child) {
      status = one;
      child = 0;
    }
    if (child == 0) kill_children();
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

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
      fmt::print(stderr,
                 "xenstore: {} is not there, so nothing is measured beside it; on Debian 12:\n"
                 "  apt-get install --no-install-recommends xen-utils-4.17\n",
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
  std::string json_file, from_file, plot_directory, socket;
  std::string ours = BENCH_POLIS_XENSTORED, c = "/usr/lib/xen-4.17/bin/xenstored";
  std::vector<std::string> daemons = {"ours", "c"};
  bool quick = false;
  app.add_option("--json", json_file, "write every figure to this file");
  app.add_flag("--quick", quick, "one short round with few guests, watches and connections: under 15 s");
  app.add_option("--plots", plot_directory, "draw plots (SVG) into this directory; needs gnuplot");
  app.add_option("--from", from_file, "measure nothing: show, and draw, what an earlier run wrote with --json");
  app.add_option("--daemons", daemons, "only these: ours, c")->delimiter(',')->check(CLI::IsMember({"ours", "c"}));
  app.add_option("--polis-xenstored", ours, "the program that is ours")->capture_default_str();
  app.add_option("--c-xenstored", c, "the C daemon's program")->capture_default_str();
  app.add_option("--socket", socket, "a running daemon besides: what needs no guests");
  app.add_option("--measurements", options.measurements,
                 "only these: requests, directory, watches, connections, guests")
      ->delimiter(',')
      ->check(CLI::IsMember({"requests", "directory", "watches", "connections", "guests"}));
  const auto number_option = [&](const char* name, std::vector<uint32_t>& numbers, uint32_t most, const char* what) {
    return app.add_option(name, numbers, what)->delimiter(',')->check(CLI::Range(0u, most));
  };
  auto* clients = number_option("--clients", options.clients, 1'000, "clients in conflict");
  auto* children = number_option("--children", options.children, 100'000, "children of one directory");
  auto* watches = number_option("--watches", options.watches, 1'000'000, "numbers of watches");
  auto* connections = number_option("--connections", options.connections, 19'000, "numbers of idle connections");
  auto* guests = number_option("--guests", options.guests, 30'000, "numbers of guests introduced");
  auto* rounds =
      app.add_option("--rounds", options.rounds, "repetitions, each through everything")->check(CLI::Range(1, 1000));
  auto* seconds = app.add_option("--seconds", options.seconds, "that most measurements take per repetition");
  app.add_option("--patience", options.patience_s, "seconds after which a daemon that is not set up is left out")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (quick) {
    if (!*rounds) options.rounds = 1;
    if (!*seconds) options.seconds = 0.02;
    if (!*clients) options.clients = {4};
    if (!*children) options.children = {1'000};
    if (!*watches) options.watches = {10, 1'000};
    if (!*connections) options.connections = {0, 100};
    if (!*guests) options.guests = {0, 10, 100};
  }
  if (!plot_directory.empty() && !can_plot()) {
    fmt::print(stderr, "xenstore: --plots needs gnuplot (Debian: gnuplot-nox), which is not installed\n");
    return 1;
  }
  const auto show = [&](const nlohmann::json& figures) {
    print_tables(figures);
    if (!json_file.empty() && !write_json("xenstore", json_file, figures)) return 1;
    return plot_directory.empty() || draw_plots(figures, plot_directory) ? 0 : 1;
  };
  if (!from_file.empty()) {
    std::ifstream file(from_file);
    const auto figures = nlohmann::json::parse(file, nullptr, false);
    if (!figures.is_discarded() && figures.contains("points")) return show(figures);
    fmt::print(stderr, "xenstore: {} is not what --json has written\n", from_file);
    return 1;
  }
  options.daemons = choose_daemons(daemons, ours, c, socket);
  if (options.daemons.empty()) return 1;
  return with_directory([&](const std::string& directory) {
    options.directory = directory;
    return show(run(options));
  });
}
