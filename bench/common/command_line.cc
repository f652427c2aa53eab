#include "common/command_line.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/basics.h"
#include "common/environment.h"
#include "common/plots.h"

namespace xenopolis::bench {
namespace {

volatile sig_atomic_t child = 0;

// What is left of the workers' daemons, if one of them was a script that started another program.
void kill_children() {
  std::ifstream file(fmt::format("/proc/self/task/{}/children", getpid()));
  for (pid_t pid = 0; file >> pid;) kill(pid, SIGKILL);
}

}  // namespace

void Presentation::add_options(CLI::App& app, const std::string& quick_help) {
  app.add_option("--json", json_file, "write every figure to this file");
  app.add_flag("--quick", quick, quick_help);
  app.add_option("--plots", plot_directory, "draw plots (SVG) into this directory; needs gnuplot");
  app.add_option("--from", from_file, "measure nothing: show, and draw, what an earlier run wrote with --json");
}

int Presentation::present(const Run& run, const Show& print_tables, const Draw& draw_plots) const {
  if (!plot_directory.empty() && !can_plot()) {
    complain("--plots needs gnuplot (Debian: gnuplot-nox), which is not installed");
    return 1;
  }
  nlohmann::json figures;
  if (from_file.empty()) {
    figures = run();
  } else {
    std::ifstream file(from_file);
    figures = nlohmann::json::parse(file, nullptr, false);
    if (figures.is_discarded() || !figures.contains("points")) {
      complain("{} is not what --json has written", from_file);
      return 1;
    }
  }
  print_tables(figures);
  if (!json_file.empty() && !write_json(json_file, figures)) return 1;
  return plot_directory.empty() || draw_plots(figures, plot_directory) ? 0 : 1;
}

int with_directory(const std::function<int(const std::string& directory)>& body) {
  // In memory where possible: what a daemon writes there may stand for memory that it shares.
  std::string directory = fmt::format("{}/bench-{}.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
                                      program_invocation_short_name);
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

}  // namespace xenopolis::bench
