#include <fmt/format.h>

#include "common/comparison.h"
#include "common/goals.h"
#include "run.h"

namespace xenopolis::bench {
namespace {

const std::vector<Column>& time_columns() {
  static const std::vector<Column> columns = {{"p50", "_p50_ns", 1e3, 1},
                                              {"least", "_least_ns", 1e3, 1},
                                              {"most", "_most_ns", 1e3, 1},
                                              {"p99", "_p99_ns", 1e3, 1},
                                              {"number", "_samples", 1, 0}};
  return columns;
}

const std::vector<Column>& rate_columns() {
  static const std::vector<Column> columns = {
      {"MB/s", "_bytes_per_s", 1e6, 1},      {"least", "_least_bytes_per_s", 1e6, 1},
      {"most", "_most_bytes_per_s", 1e6, 1}, {"us/KiB", "_kib_daemon_cpu_ns", 1e3, 3},
      {"lost", "_lost_most_bytes", 1, 0},    {"unmarked", "_unmarked_lost_most_bytes", 1, 0}};
  return columns;
}

}  // namespace

void print_tables(const nlohmann::json& figures) {
  print_head(figures);
  fmt::print(
      "Times are us: the median and the 99th percentile of all, and the least and the greatest median of a round\n");
  std::vector<Column> wakeups = time_columns();
  wakeups.push_back({"cpu", "_daemon_cpu_ns", 1e3, 2});
  print_table(
      figures,
      "A wakeup: a guest writes a line and waits until the daemon has taken it, both on one CPU; and the\n"
      "daemon's CPU time. The same 10 consoles; or any, far from each other. xenconsoled allows each console 30\n"
      "events in 200 ms",
      "wakeup", {{"10 of consoles", "wakeup"}, {"any of consoles", "wakeup_anywhere"}}, wakeups, true);
  print_table(
      figures,
      "Throughput: guests fill their rings as soon as half is free, and the daemon's CPU time. Lost: bytes that\n"
      "are not in the logs",
      "throughput", {{"one of consoles", "one"}, {"all of consoles", "all"}}, rate_columns(), true);
  print_table(figures, "The same of hosted domains: one, and up to 64 at the same time", "hosted_throughput",
              {{"one of domains", "one"}, {"up to 64 of domains", "all"}}, rate_columns(), true);
  print_table(
      figures,
      "Latency, from a guest's write to its reader: 10 others write a line each 10 ms; and beside 50 that write\n"
      "whenever there is room",
      "latency", {{"10 busy, consoles", "latency"}, {"50 storming, consoles", "storm_latency"}}, time_columns(), true);
  print_table(figures, "The same of hosted domains", "hosted_latency", {{"10 busy, domains", "latency"}},
              time_columns(), true);
  print_table(
      figures,
      "A quiet console's bytes in the daemon, beyond its ring (anonymous, page tables, and its stream; not what the\n"
      "kernel has for its descriptors); the same after each has written a line; and a quiet one's descriptors",
      "memory", {{"consoles", ""}},
      {{"quiet", "quiet_own_bytes_per_console", 1, 0},
       {"spoken", "spoken_own_bytes_per_console", 1, 0},
       {"fds", "descriptors_per_console", 1, 2}},
      true);
  print_goals(figures.at("figures"));
}

}  // namespace xenopolis::bench
