// Event channels by ABI and number, beside eventfd and pipes: cost, latency, throughput, fairness, priority, memory.
#include <CLI/CLI.hpp>
#include <fstream>

#include "../environment.h"
#include "plots.h"
#include "run.h"
#include "tables.h"

int main(int argc, char** argv) {
  using namespace xenopolis::bench;
  CLI::App app("Event channels by ABI and number of channels, beside eventfd and pipes");
  Options options;
  std::string json_file, from_file, plot_directory;
  app.add_option("--json", json_file, "write every figure to this file");
  auto* quick = app.add_flag("--quick", options.quick, "3 short rounds: under 50 s");
  app.add_option("--plots", plot_directory, "draw plots (SVG) into this directory; needs gnuplot");
  app.add_option("--from", from_file, "measure nothing: show, and draw, what an earlier run wrote with --json");
  app.add_option("--channels", options.channels, "numbers of channels")->delimiter(',')->check(CLI::Range(2, 262'143));
  auto* rounds =
      app.add_option("--rounds", options.rounds, "repetitions, each through everything")->check(CLI::Range(1, 1000));
  auto* seconds = app.add_option("--seconds", options.seconds, "that most measurements take per repetition");
  app.add_option("--subjects", options.subjects, "only these: 2l, 3l, fifo, eventfd, eventfd-et, pipe")->delimiter(',');
  app.add_option("--measurements", options.measurements,
                 "only these: send, wakeup, throughput, latency, saturation, memory")
      ->delimiter(',');
  CLI11_PARSE(app, argc, argv);
  if (*quick && !*rounds) options.rounds = 3;
  if (*quick && !*seconds) options.seconds = 0.02;
  if (!plot_directory.empty() && !can_plot()) {
    fmt::print(stderr, "event: --plots needs gnuplot (Debian: gnuplot-nox), which is not installed\n");
    return 1;
  }

  nlohmann::json figures;
  if (from_file.empty()) {
    figures = run(options);
  } else {
    std::ifstream file(from_file);
    figures = nlohmann::json::parse(file, nullptr, false);
    if (figures.is_discarded() || !figures.contains("points")) {
      fmt::print(stderr, "event: {} is not what --json has written\n", from_file);
      return 1;
    }
  }
  print_tables(figures);
  if (!json_file.empty() && !write_json("event", json_file, figures)) return 1;
  if (!plot_directory.empty() && !draw_plots(figures, plot_directory)) return 1;
  return 0;
}
