// Event channels by ABI and number, beside eventfd and pipes: cost, latency, throughput, fairness, priority, memory.
#include "common/command_line.h"
#include "run.h"

int main(int argc, char** argv) {
  using namespace xenopolis::bench;
  CLI::App app("Event channels by ABI and number of channels, beside eventfd and pipes");
  Options options;
  Presentation presentation;
  presentation.add_options(app, "3 short rounds: under 50 s");
  app.add_option("--channels", options.channels, "numbers of channels")->delimiter(',')->check(CLI::Range(2, 262'143));
  auto* rounds =
      app.add_option("--rounds", options.rounds, "repetitions, each through everything")->check(CLI::Range(1, 1000));
  auto* seconds = app.add_option("--seconds", options.seconds, "that most measurements take per repetition");
  app.add_option("--subjects", options.subjects, "only these: 2l, 3l, fifo, eventfd, eventfd-et, pipe")->delimiter(',');
  app.add_option("--measurements", options.measurements,
                 "only these: send, wakeup, throughput, latency, saturation, memory")
      ->delimiter(',');
  CLI11_PARSE(app, argc, argv);
  options.quick = presentation.quick;
  if (options.quick && !*rounds) options.rounds = 3;
  if (options.quick && !*seconds) options.seconds = 0.02;
  return presentation.present([&] { return run(options); }, print_tables, draw_plots);
}
