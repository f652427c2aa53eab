#include "tables.h"

#include <fmt/format.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace xenopolis::bench {
namespace {

struct Row {
  std::string label;
  std::string figure;  // "read" of read_p50_ns
};

std::vector<std::string> daemons_of(const nlohmann::json& figures) {
  std::vector<std::string> names;
  for (const auto& daemon : figures.at("daemons")) names.push_back(daemon.at("name"));
  return names;
}

// Ascending, each once.
std::set<uint32_t> numbers_of(const nlohmann::json& figures, std::string_view measurement) {
  std::set<uint32_t> numbers;
  for (const auto& point : figures.at("points")) {
    if (point.at("measurement") == measurement) numbers.insert(point.at("at").get<uint32_t>());
  }
  return numbers;
}

// The point's figure, or nothing.
const nlohmann::json* find(const nlohmann::json& figures, std::string_view measurement, const std::string& daemon,
                           uint32_t at, const std::string& key) {
  for (const auto& point : figures.at("points")) {
    if (point.at("measurement") != measurement || point.at("daemon") != daemon || point.at("at") != at) continue;
    const auto figure = point.find(key);
    return figure == point.end() ? nullptr : &*figure;
  }
  return nullptr;
}

struct Column {
  std::string_view title;
  std::string suffix;  // "_p50_ns" after the row's figure
  double unit;
  int digits;
};

// With fewer digits the larger it is.
std::string number(double value, int digits) {
  return fmt::format("{:.{}f}", value, value < 10'000 ? digits : 0);
}

// A line for each row and number, a group of columns for each daemon, and how the first column of the last daemon
// compares with that of the first.
void print_table(const nlohmann::json& figures, std::string_view title, std::string_view measurement,
                 const std::vector<Row>& rows, const std::vector<Column>& columns, bool show_number) {
  constexpr int kLabelWidth = 30, kWidth = 9;
  const auto daemons = daemons_of(figures);
  std::string lines;
  for (const Row& row : rows) {
    for (const uint32_t at : numbers_of(figures, measurement)) {
      std::string line =
          fmt::format("{:<{}}", show_number ? fmt::format("{} {}", row.label, at) : row.label, kLabelWidth);
      bool any = false;
      std::vector<double> firsts;
      for (const std::string& daemon : daemons) {
        for (const Column& column : columns) {
          const auto* value = find(figures, measurement, daemon, at, row.figure + column.suffix);
          any = any || value != nullptr;
          line += value == nullptr
                      ? fmt::format(" {:>{}}", "-", kWidth)
                      : fmt::format(" {:>{}}", number(value->get<double>() / column.unit, column.digits), kWidth);
          if (value != nullptr && &column == &columns.front()) firsts.push_back(value->get<double>());
        }
        line += "  ";
      }
      if (firsts.size() > 1) line += fmt::format("{:>{}.2f}", firsts.back() / firsts.front(), kWidth);
      if (any) lines += line + "\n";
    }
  }
  if (lines.empty()) return;  // not measured
  std::string names(kLabelWidth, ' '), titles = names;
  for (const std::string& daemon : daemons) {
    names += fmt::format(" {:<{}}  ", daemon, static_cast<int>(columns.size()) * (kWidth + 1) - 1);
    for (const Column& column : columns) titles += fmt::format(" {:>{}}", column.title, kWidth);
    titles += "  ";
  }
  if (daemons.size() > 1) titles += fmt::format("{:>{}}", daemons.back() + "/" + daemons.front(), kWidth);
  fmt::print("\n{}\n{}\n{}\n", title, names, titles);
  fmt::print("{}", lines);
}

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

void print_figures(const nlohmann::json& figures) {
  if (figures.at("figures").empty()) return;
  fmt::print("\nWhat it is to be measured by (ratios of figures of one round: median, least, most)\n");
  for (const auto& figure : figures.at("figures")) {
    const bool at_most = figure.contains("at_most");
    std::string spread;
    if (figure.contains("least")) {
      spread = fmt::format("{:.3g} to {:.3g}", figure.at("least").get<double>(), figure.at("most").get<double>());
    }
    fmt::print("{:<44} {:>10.3g}  {:<22} {:<8} {:>5}  {}\n", figure.at("name").get<std::string>(),
               figure.at("median").get<double>(), spread, at_most ? "at most" : "at least",
               figure.at(at_most ? "at_most" : "at_least").get<double>(), figure.at("met").get<bool>() ? "" : "MISSED");
  }
}

}  // namespace

void print_tables(const nlohmann::json& figures) {
  const auto& here = figures.at("environment");
  fmt::print("kernel {}, {} CPUs ({}), {}\n", here.at("kernel").get<std::string>(), here.at("cpus").get<int>(),
             here.at("cpu_model").get<std::string>(), here.at("date").get<std::string>());
  fmt::print("{} rounds, {} s a measurement\n", figures.at("rounds").get<int>(),
             figures.at("seconds_per_measurement").get<double>());
  for (const auto& daemon : figures.at("daemons")) {
    fmt::print("{}: {}\n", daemon.at("name").get<std::string>(), daemon.at("description").get<std::string>());
  }
  for (const auto& what : figures.at("left_out")) fmt::print("{}\n", what.get<std::string>());
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
  print_figures(figures);
}

}  // namespace xenopolis::bench
