// polis top.
#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/host_client.h"
#include "cli/top_screen.h"

namespace xenopolis::cli {
namespace {

using nlohmann::json;

struct TopOptions {
  std::string order = "cpu";
  bool reverse = false;
  bool batch = false;
  double delay_s = 2;
  uint64_t iterations = 0;  // 0: without end
  std::string search;
};

// Ends with the host: polisd may be started again meanwhile, which changes nothing here.
Result<Fd> watch_host(HostClient& client) {
  const json info = TRY(client.ask({{"op", "info"}}));
  const json& processes = info.at("processes");
  const auto pid = processes.value("polis-keeper", processes.at("polisd").get<int>());
  Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) return fail_errno(fmt::format("process {}", pid));
  return pidfd;
}

bool ends_within(const Fd& pidfd, double seconds) {
  pollfd ended{pidfd.get(), POLLIN, 0};
  return poll(&ended, 1, static_cast<int>(seconds * 1000)) == 1;
}

void print_batch(const std::vector<TopRow>& rows, bool as_json) {
  const int64_t now_s = time(nullptr);
  std::string text;
  if (as_json) {
    json all = json::array();
    for (const TopRow& row : rows) all.push_back(to_json(row));
    text = json{{"time_s", now_s}, {"domains", std::move(all)}}.dump() + "\n";
  } else {
    text = top_header() + "\n";
    for (const TopRow& row : rows) text += top_line(row, now_s) + "\n";
  }
  fwrite(text.data(), 1, text.size(), stdout);
  fflush(stdout);
}

Result<int> top(const TopOptions& options, const CommonOptions& common) {
  const auto client = TRY(connect(common));
  const machine::Machine& machine = *TRY(client->machine());
  const Fd host = TRY(watch_host(*client));
  const MonotonicClock clock;
  TopSampler sampler;
  const auto sample = [&] { return sampler.sample(read_domains(machine), clock.now_ns()); };
  const TopOrder order = *top_order_named(options.order);
  if (!options.batch && !common.json && isatty(STDOUT_FILENO) == 1 && isatty(STDIN_FILENO) == 1) {
    const std::string name = std::filesystem::path(client->directory()).filename().string();
    bool is_over = false;
    TRY_VOID(show_top(name, {order, options.reverse, options.delay_s, options.search}, sample,
                      [&] { return is_over = ends_within(host, 0); }));
    if (is_over) fmt::print(stderr, "polis top: the host has ended\n");
    return 0;
  }
  for (uint64_t round = 1;; ++round) {
    std::vector<TopRow> rows = matching(sample(), options.search);
    sort_rows(rows, order, options.reverse);
    print_batch(rows, common.json);
    if (ferror(stdout) != 0) return fail(0, "nobody reads the output any more");
    if (round == options.iterations) return 0;
    if (ends_within(host, options.delay_s)) {
      fmt::print(stderr, "polis top: the host has ended\n");
      return 0;
    }
  }
}

}  // namespace

void add_top(CommandLine& line) {
  const auto shared = std::make_shared<TopOptions>();
  TopOptions& options = *shared;
  CLI::App* command = line.add("top", "Watch what domains do", [shared, &line] { return top(*shared, line.common()); });
  command->footer(
      "At a terminal ? shows the keys. CPU(%) is of one CPU, since the last sample, in the first one since creation.\n"
      "In a pipe it prints as with -b; with --json a line for each sample.");
  command->add_option("-s,--sort", options.order, "cpu, time, memory, exits, hypercalls, upcalls, uptime, name or id")
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(kTopOrderNames), std::end(kTopOrderNames))))
      ->capture_default_str();
  command->add_flag("-r,--reverse", options.reverse, "the other way round");
  command->add_option("-d,--delay", options.delay_s, "seconds between samples")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command->add_flag("-b,--batch", options.batch, "print all rows, for scripts");
  command->add_option("-i,--iterations", options.iterations, "end after so many samples of -b; 0: do not end")
      ->type_name("N");
  command->add_option("--search", options.search, "only names that contain this, or this domid")->type_name("TEXT");
}

}  // namespace xenopolis::cli
