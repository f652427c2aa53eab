#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/comparison.h"
#include "common/goals.h"
#include "run.h"

namespace xenopolis::bench {
namespace {

void print_times(const nlohmann::json& figures, std::string_view title, std::string_view measurement,
                 const std::vector<Row>& rows, bool show_number = true) {
  constexpr double kUs = 1e3;
  print_table(figures, title, measurement, rows,
              {{"p50", "_p50_ns", kUs, 1},
               {"least", "_least_ns", kUs, 1},
               {"most", "_most_ns", kUs, 1},
               {"p99", "_p99_ns", kUs, 1},
               {"cpu", "_daemon_cpu_ns", kUs, 1},
               {"number", "_samples", 1, 0}},
              show_number);
}

void print_rates(const nlohmann::json& figures, std::string_view title, std::string_view measurement,
                 const std::vector<Row>& rows, const std::string& unit, bool show_number) {
  print_table(figures, title, measurement, rows,
              {{"median", unit, 1, 0},
               {"least", "_least" + unit, 1, 0},
               {"most", "_most" + unit, 1, 0},
               {"cpu, us", "_daemon_cpu_ns", 1e3, 1}},
              show_number);
}

}  // namespace

void print_tables(const nlohmann::json& figures) {
  print_head(figures);
  fmt::print(
      "Times are us: the median and the 99th percentile of all, the least and the greatest median of a round, and the\n"
      "daemon's CPU time. Client and daemon share a CPU, but where two are named and in pipelines\n");
  print_times(figures, "One request after the other, through libxenstore (raw: without)", "single",
              {{"read", "read"},
               {"write", "write"},
               {"directory, 10 children", "directory"},
               {"get_perms", "get_perms"},
               {"mkdir + rm", "mkdir_rm"},
               {"watch + event + unwatch", "watch_unwatch"},
               {"raw read", "raw_read"},
               {"read, on two CPUs", "read_apart"},
               {"write, on two CPUs", "write_apart"}},
              false);
  print_rates(figures, "Pipelined requests a second, raw protocol", "pipelined", {{"read", "read"}, {"write", "write"}},
              "_requests_per_s", false);
  print_times(figures, "A directory with so many children: listing it, and adding and removing a child", "directory",
              {{"directory", "list"}, {"mkdir + rm", "mkdir_rm"}});
  print_times(figures, "A transaction that nobody disturbs: empty; three reads and three writes", "transactions",
              {{"empty", "empty"}, {"3 reads, 3 writes", "alone"}}, false);
  const std::vector<Row> conflicts = {{"a counter, clients", "counter"}, {"siblings, clients", "siblings"}};
  print_rates(figures,
              "Conflict, commits a second: all clients count up one node; each remakes its own child of one directory",
              "conflict", conflicts, "_commits_per_s", true);
  print_times(figures, "The time of a commit with all attempts", "conflict",
              {{"a counter, clients", "counter_commit"}, {"siblings, clients", "siblings_commit"}});
  print_table(figures, "Attempts for one commit", "conflict", conflicts, {{"mean", "_attempts_per_commit", 1, 2}},
              true);
  print_times(figures,
              "A write beside so many watches, until the one that it fires has told its client; until the reply",
              "watches", {{"to the event, watches", "write_fires_one"}, {"to the reply, watches", "write"}});
  print_times(figures, "A read beside so many idle connections", "connections", {{"read, connections", "read"}});
  print_times(figures,
              "Creating a domain as libxl does beside so many, from the first request to INTRODUCE; removing it",
              "create", {{"create, guests", "create"}, {"remove, guests", "remove"}});
  print_times(figures, "A guest on its ring, beside so many: a read; from a write of Dom0 to the event of its watch",
              "rings", {{"read, guests", "guest_read"}, {"watch, guests", "guest_watch"}});
  print_table(figures,
              "Memory with so many guests, MB: resident when the last one has set its watch (active), and when nobody\n"
              "has asked for anything for 4 s; of that, without files and shared memory (anonymous); and page tables",
              "memory", {{"guests", ""}},
              {{"active", "active_resident_bytes", 1e6, 1},
               {"machine", "active_machine_bytes", 1e6, 1},
               {"tables", "active_page_table_bytes", 1e6, 1},
               {"resident", "resident_bytes", 1e6, 1},
               {"machine", "machine_bytes", 1e6, 1},
               {"own", "own_bytes", 1e6, 1},
               {"anonymous", "anonymous_bytes", 1e6, 1},
               {"tables", "page_table_bytes", 1e6, 1}},
              true);
  print_goals(figures.at("figures"));
}

}  // namespace xenopolis::bench
