#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

#include "common/environment.h"
#include "run.h"

namespace xenopolis::bench {
namespace {

struct Column {
  std::string_view title;
  const char* figure;
  double unit = 1;  // the figure is divided by this
  int digits = 0;
};

// A row for each point that has one of the columns.
void print_table(const nlohmann::json& figures, std::string_view title, std::initializer_list<Column> columns) {
  const auto width = [](const Column& column) { return std::max<size_t>(9, column.title.size()); };
  std::string rows;
  for (const auto& point : figures.at("points")) {
    const auto has = [&](const Column& column) { return point.contains(column.figure); };
    if (std::none_of(columns.begin(), columns.end(), has)) continue;
    rows += fmt::format("{:<11}{:>9}", point.at("subject").get<std::string>(), point.at("channels").get<uint32_t>());
    for (const Column& column : columns) {
      rows += has(column) ? fmt::format(" {:>{}.{}f}", point.at(column.figure).get<double>() / column.unit,
                                        width(column), column.digits)
                          : fmt::format(" {:>{}}", "-", width(column));
    }
    rows += "\n";
  }
  if (rows.empty()) return;  // not measured
  fmt::print("\n{}\n{:<11}{:>9}", title, "", "channels");
  for (const Column& column : columns) fmt::print(" {:>{}}", column.title, width(column));
  fmt::print("\n{}", rows);
}

constexpr double kUs = 1e3, kMillion = 1e6;

void print_costs(const nlohmann::json& figures) {
  print_table(
      figures,
      "Cost of a send, ns, median (one thread, channels in shuffled order): the first, which wakes the consumer;\n"
      "the following ones; and to a port that is pending already",
      {{"waking", "send_waking_p50_ns"}, {"following", "send_p50_ns"}, {"pending", "send_pending_p50_ns"}});
  print_table(
      figures,
      "Cost of a wakeup, ns, median: epoll_wait() and serving what is pending. The same neighbouring ports each time;\n"
      "or other ones each time, anywhere (cold). `nothing`: epoll_wait(), the eventfd, and no event",
      {{"nothing", "wakeup_for_nothing_p50_ns"},
       {"1", "wakeup_1_pending_p50_ns"},
       {"10", "wakeup_10_pending_p50_ns"},
       {"1000", "wakeup_1000_pending_p50_ns"},
       {"1 cold", "wakeup_1_pending_scattered_p50_ns"},
       {"10 cold", "wakeup_10_pending_scattered_p50_ns"},
       {"1000 cold", "wakeup_1000_pending_scattered_p50_ns"}});
  print_table(figures, "The same less what a wakeup for nothing cost just after: without eventfd and epoll",
              {{"1", "wakeup_1_pending_without_eventfd_p50_ns"},
               {"10", "wakeup_10_pending_without_eventfd_p50_ns"},
               {"1000", "wakeup_1000_pending_without_eventfd_p50_ns"},
               {"1 cold", "wakeup_1_pending_scattered_without_eventfd_p50_ns"},
               {"10 cold", "wakeup_10_pending_scattered_without_eventfd_p50_ns"},
               {"1000 cold", "wakeup_1000_pending_scattered_without_eventfd_p50_ns"}});
  print_table(figures,
              "Cost of delivery, ns for each of 1,000 events drained, median: sent by the same CPU; by the other",
              {{"same CPU", "wakeup_1000_pending_p50_ns", 1000, 1},
               {"cold", "wakeup_1000_pending_scattered_p50_ns", 1000, 1},
               {"other CPU", "wakeup_1000_pending_remote_p50_ns", 1000, 1}});
}

void print_throughput(const nlohmann::json& figures) {
  print_table(
      figures,
      "Throughput, million events a second that the handler has seen: one sender, one consumer, a CPU each, all\n"
      "channels in turns, none sent to before its last event was served. The consumer sleeps in epoll_wait() when\n"
      "there is nothing, or spins. limit/: the machine's limit over the throughput (sleeping), same round",
      {{"median", "throughput_events_per_s", kMillion, 2},
       {"least", "throughput_least_events_per_s", kMillion, 2},
       {"most", "throughput_most_events_per_s", kMillion, 2},
       {"spinning", "throughput_spinning_events_per_s", kMillion, 2},
       {"limit/", "limit_over_throughput_ratio", 1, 2}});
  if (!figures.contains("machine_limit_passes_per_s")) return;
  fmt::print(
      "machine's limit: {:.2f} million words a second pass from CPU to CPU by atomic exchange ({:.2f} to {:.2f})\n",
      figures.at("machine_limit_passes_per_s").get<double>() / kMillion,
      figures.at("machine_limit_least_passes_per_s").get<double>() / kMillion,
      figures.at("machine_limit_most_passes_per_s").get<double>() / kMillion);
}

void print_latencies(const nlohmann::json& figures) {
  print_table(
      figures, "One-way latency, us, all other channels idle, the consumer asleep",
      {{"p50", "one_way_p50_ns", kUs, 1}, {"p99", "one_way_p99_ns", kUs, 1}, {"p99.9", "one_way_p99_9_ns", kUs, 1}});
  print_table(figures, "Round trip, us, all other channels idle: both sides sleep; both spin",
              {{"p50", "round_trip_p50_ns", kUs, 1},
               {"p99", "round_trip_p99_ns", kUs, 1},
               {"p99.9", "round_trip_p99_9_ns", kUs, 1},
               {"spin p50", "round_trip_spinning_p50_ns", kUs, 2},
               {"spin p99", "round_trip_spinning_p99_ns", kUs, 2},
               {"spin p99.9", "round_trip_spinning_p99_9_ns", kUs, 2}});
  print_table(
      figures,
      "Latency beside a storm, us: another domain sends in a loop on its channels (at most 1,000). One thread is\n"
      "both domains. One way; round trip (rt)",
      {{"p50", "one_way_storm_p50_ns", kUs, 1},
       {"p99", "one_way_storm_p99_ns", kUs, 1},
       {"p99.9", "one_way_storm_p99_9_ns", kUs, 1},
       {"rt p50", "round_trip_storm_p50_ns", kUs, 1},
       {"rt p99", "round_trip_storm_p99_ns", kUs, 1},
       {"rt p99.9", "round_trip_storm_p99_9_ns", kUs, 1}});
  print_table(
      figures,
      "Fairness: latency, us, of the lowest and the highest port numbers (a twentieth each, at most 64 ports) while\n"
      "all channels are saturated and the handler takes 1 us for each event",
      {{"first p50", "saturated_first_ports_p50_ns", kUs, 1},
       {"first p99", "saturated_first_ports_p99_ns", kUs, 1},
       {"last p50", "saturated_last_ports_p50_ns", kUs, 1},
       {"last p99", "saturated_last_ports_p99_ns", kUs, 1},
       {"last/first p50", "saturated_last_over_first_p50_ratio", 1, 2},
       {"p99", "saturated_last_over_first_p99_ratio", 1, 2}});
  print_table(
      figures,
      "Priority inversion: latency, us, of one port while all others are saturated as above: of the same priority\n"
      "as they, and of the highest (FIFO only)",
      {{"same p50", "inversion_same_priority_p50_ns", kUs, 1},
       {"same p99", "inversion_same_priority_p99_ns", kUs, 1},
       {"p99.9", "inversion_same_priority_p99_9_ns", kUs, 1},
       {"high p50", "inversion_urgent_priority_p50_ns", kUs, 1},
       {"high p99", "inversion_urgent_priority_p99_ns", kUs, 1},
       {"p99.9", "inversion_urgent_priority_p99_9_ns", kUs, 1}});
}

void print_memory(const nlohmann::json& figures) {
  print_table(
      figures,
      "Memory, bytes a channel: what Dom0 shares with the hypervisor; port tables in the hypervisor, of both ends,\n"
      "without the fixed table of 4 KiB a domain (`fixed`); the Linux kernel's slabs (a pipe has a page besides, once\n"
      "written to)",
      {{"shared", "dom0_shared_bytes_per_channel", 1, 1},
       {"hypervisor", "hypervisor_bytes_per_channel", 1, 1},
       {"dom0 end", "hypervisor_bytes_per_channel_dom0_end", 1, 1},
       {"guest end", "hypervisor_bytes_per_channel_guest_end", 1, 1},
       {"fixed", "hypervisor_fixed_bytes_per_domain"},
       {"slabs", "kernel_slab_bytes_per_channel"}});
}

}  // namespace

void print_tables(const nlohmann::json& figures) {
  print_environment(figures.at("environment"));
  fmt::print("{} rounds, {} s a measurement; without KVM: guests are threads that call the hypervisor\n\n",
             figures.at("rounds").get<int>(), figures.at("seconds_per_measurement").get<double>());
  for (const auto& subject : figures.at("subjects")) {
    fmt::print("{:<11}{}; ends at {} channels ({})\n", subject.at("name").get<std::string>(),
               subject.at("description").get<std::string>(), subject.at("most_channels").get<uint32_t>(),
               subject.at("ends_with").get<std::string>());
  }
  print_costs(figures);
  print_throughput(figures);
  print_latencies(figures);
  print_memory(figures);
  fmt::print("\nRatios (median of those within one round)\n");
  for (const auto& [name, value] : figures.at("ratios").items())
    fmt::print("{:<60} {:>8.2f}\n", name, value.get<double>());
}

}  // namespace xenopolis::bench
