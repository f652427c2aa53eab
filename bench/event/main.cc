#include <CLI/CLI.hpp>

#include "../environment.h"
#include "worker.h"

int main(int argc, char** argv) {
  using namespace xenopolis::bench;
  CLI::App app("Event channels beside eventfd and pipes");
  double seconds = 0.2;
  std::vector<uint32_t> points = {10, 1000, 4000, 10000, 12000, 131000};
  app.add_option("--seconds", seconds);
  app.add_option("--channels", points)->delimiter(',');
  CLI11_PARSE(app, argc, argv);
  print(environment());
  const Cpus cpus = choose_cpus();
  std::vector<Subject> subjects = event_channel_subjects();
  for (auto& s : descriptor_subjects()) subjects.push_back(s);
  for (int round = 0; round < 3; ++round) {
    fmt::print("limit {:.2f} M/s\n", passes_per_second(cpus, seconds) / 1e6);
    for (auto& subject : subjects)
      for (uint32_t n : points) {
        if (n > subject.max_channels) continue;
        Worker w(subject, n, cpus);
        fmt::print("{:>10} {:>7} sleeping {:.2f} M/s", subject.name, n,
                   w.run("throughput", seconds, {{"sleeping", true}})["events_per_s"].get<double>() / 1e6);
        fmt::print(" spinning {:.2f} M/s\n",
                   w.run("throughput", seconds, {{"sleeping", false}})["events_per_s"].get<double>() / 1e6);
      }
  }
}
