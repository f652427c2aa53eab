// Console daemons side by side: polis-consoled, and a model of what xenconsoled does at each wakeup, in the same run;
// and polis-consoled with hosted domains.
#include "common/basics.h"
#include "common/command_line.h"
#include "run.h"
#include "scenes.h"

int main(int argc, char** argv) {
  using namespace xenopolis::bench;
  CLI::App app("polis-consoled beside a model of xenconsoled's loop, and with hosted domains");
  Options options;
  Presentation presentation;
  std::string ours = BENCH_POLIS_CONSOLED;
  options.polisd = BENCH_POLISD;
  options.image = BENCH_LOAD_GUEST;
  std::vector<std::string> daemons = {"ours", "model"};
  presentation.add_options(app, "one short round with few consoles and domains: under 25 s");
  app.add_option("--daemons", daemons, "only these: ours, model")
      ->delimiter(',')
      ->check(CLI::IsMember({"ours", "model"}));
  app.add_option("--polis-consoled", ours, "the program that is ours")->capture_default_str();
  app.add_option("--polisd", options.polisd, "the program that starts hosted domains")->capture_default_str();
  app.add_option("--measurements", options.measurements, "only these: memory, wakeup, throughput, latency, hosted")
      ->delimiter(',')
      ->check(CLI::IsMember({"memory", "wakeup", "throughput", "latency", "hosted"}));
  auto* consoles = app.add_option("--consoles", options.consoles, "numbers of consoles")
                       ->delimiter(',')
                       ->check(CLI::Range(1u, 32'000u));
  auto* domains = app.add_option("--domains", options.domains, "numbers of hosted domains")
                      ->delimiter(',')
                      ->check(CLI::Range(kLeastHosted, 32'000u));
  auto* rounds = app.add_option("--rounds", options.rounds.rounds, "repetitions, each through everything")
                     ->check(CLI::Range(1, 1000));
  auto* seconds = app.add_option("--seconds", options.rounds.seconds, "that most measurements take per repetition");
  app.add_option("--rest", options.rest_s, "seconds of silence before the memory of a daemon at rest is read")
      ->capture_default_str();
  app.add_option("--patience", options.rounds.patience_s, "seconds after which what is not set up is left out")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (presentation.quick) {
    if (!*rounds) options.rounds.rounds = 1;
    if (!*seconds) options.rounds.seconds = 0.02;
    if (!*consoles) options.consoles = {10, 200};
    if (!*domains) options.domains = {40};
  }
  for (const std::string& name : daemons) {
    options.daemons.push_back(name == "ours" ? our_console_kind(ours) : model_console_kind());
  }
  const auto draw = [](const nlohmann::json& figures, const std::string& directory) {
    return draw_plots(figures, directory);
  };
  if (!presentation.from_file.empty()) return presentation.present({}, print_tables, draw);
  return with_directory([&](const std::string& directory) {
    options.directory = directory;
    return presentation.present([&] { return run(options); }, print_tables, draw);
  });
}
