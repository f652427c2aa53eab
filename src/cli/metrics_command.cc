#include "cli/metrics_command.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/epoll.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/event_loop.h"
#include "base/signals.h"
#include "cli/host_client.h"
#include "toolstack/metrics.h"
#include "toolstack/metrics_server.h"

namespace xenopolis::cli {
namespace {

// A line to the host for each time: who serves metrics for weeks outlives hosts.
Result<std::string> collect(const MetricsCommandOptions& options) {
  const auto client = TRY(HostClient::connect(options.run_directory));
  const nlohmann::json info = TRY(client->ask({{"op", "info"}}));
  toolstack::MetricsOptions metrics;
  metrics.each_domain = options.each_domain;
  for (const char* label : {"version", "backend", "event_abi"}) {
    if (info.contains(label) && info[label].is_string()) metrics.host.emplace_back(label, info[label]);
  }
  const machine::Machine* machine = TRY(client->machine());
  return toolstack::metrics_text(*machine, metrics);
}

// {"polis_domains{state=\"running\"}": 3, ...}
std::string as_json(const std::string& text) {
  nlohmann::ordered_json samples;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    const size_t blank = line.rfind(' ');
    samples[line.substr(0, blank)] = nlohmann::json::parse(line.substr(blank + 1), nullptr, false);
  }
  return samples.dump(2) + "\n";
}

Result<int> serve(const MetricsCommandOptions& options) {
  auto server = TRY(toolstack::MetricsServer::listen(options.listen));
  EventLoop loop = TRY(EventLoop::create());
  Signals signals = TRY(Signals::take_over({SIGINT, SIGTERM}));
  bool is_stopping = false;
  TRY_VOID(loop.add(signals.fd(), EPOLLIN, [&](uint32_t) { is_stopping = true; }));
  TRY_VOID(loop.add(server.fd(), EPOLLIN, [&](uint32_t) { server.serve([&] { return collect(options); }); }));
  fmt::print("metrics are served on {}\n", server.address());
  std::fflush(stdout);
  while (!is_stopping) TRY_VOID(loop.run_once(-1));
  return 0;
}

}  // namespace

Result<int> run_metrics(const MetricsCommandOptions& options) {
  if (!options.listen.empty()) return serve(options);
  const std::string text = TRY(collect(options));
  fmt::print("{}", options.json ? as_json(text) : text);
  return 0;
}

}  // namespace xenopolis::cli
