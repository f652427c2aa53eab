#include "experiment/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "experiment/experiment.h"
#include "experiment/interruption.h"
#include "experiment/machine_description.h"
#include "experiment/peers.h"
#include "experiment/report.h"
#include "experiment/report_text.h"

namespace xenopolis::experiment {
namespace {

struct Plan {
  uint32_t domains;
  std::string event_abi;
};

// Small ones of every ABI first: whoever interrupts has something of each.
std::vector<Plan> plan_runs(const SweepOptions& options) {
  std::vector<uint32_t> sizes = options.domains;
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  std::vector<Plan> plan;
  for (const uint32_t size : sizes) {
    for (const std::string& abi : options.event_abis) plan.push_back({size, abi});
  }
  return plan;
}

Status write_all(const nlohmann::json& sweep, const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return fail(error.value(), "creating " + directory);
  const std::string path = directory + "/results.json";
  std::ofstream file(path, std::ios::trunc);
  file << sweep.dump(1) << "\n";
  file.close();
  if (!file) return fail(EIO, "writing " + path);
  return {};
}

// The report, as far as there is anything to report.
Result<std::string> write_report_of(const nlohmann::json& sweep, const std::string& directory) {
  const SweepRecord record = TRY(read_sweep(sweep));
  const bool is_empty =
      std::none_of(record.runs.begin(), record.runs.end(), [](const RunRecord& run) { return run.up > 0; });
  if (is_empty) return std::string();
  return write_report(record, directory);
}

Status add_peers(const SweepOptions& options, nlohmann::json& sweep) {
  EventLoop loop = TRY(EventLoop::create());
  const std::unique_ptr<Interruption> interruption = TRY(Interruption::watch(loop));
  const auto stop = [&] { return !loop.run_once(0) || interruption->happened(); };
  PeerOptions peers;
  peers.count = options.peers;
  peers.reserve_mib = options.each.reserve_mib;
  peers.quiet = options.each.quiet;
  for (const PeerRecord& peer : measure_peers(peers, stop)) {
    sweep["peers"].push_back(to_json(peer));
    if (options.each.quiet || peer.started == 0) continue;
    fmt::print(stderr, "{} × {}: {} each, {}\n", peer.started, peer.name, milliseconds(peer.each_p50_ms),
               kibibytes(peer.memory_kib_each));
  }
  sweep["interrupted"] = interruption->happened();
  return {};
}

}  // namespace

Result<SweepOutcome> run_sweep(const SweepOptions& options) {
  const std::vector<Plan> plan = plan_runs(options);
  std::map<std::string, uint32_t> walls;  // by ABI: the first domain that could not be
  std::set<uint32_t> with_floor;          // numbers of domains that it was measured beside
  SweepOutcome outcome;
  nlohmann::json sweep{
      {"version", options.version},      {"command", options.command}, {"machine", describe_machine()},
      {"planned_runs", plan.size()},     {"interrupted", false},       {"runs", nlohmann::json::array()},
      {"peers", nlohmann::json::array()}};
  for (size_t index = 0; index < plan.size() && !outcome.interrupted; ++index) {
    const auto& [domains, abi] = plan[index];
    const std::string which = fmt::format("run {} of {}: {} domains, {}", index + 1, plan.size(), domains, abi);
    if (const auto wall = walls.find(abi); wall != walls.end() && domains >= wall->second) {
      if (!options.each.quiet) fmt::print(stderr, "{}: left out, it ends at domain {}\n", which, wall->second);
      sweep["planned_runs"] = sweep["planned_runs"].get<size_t>() - 1;
      continue;
    }
    if (!options.each.quiet) fmt::print(stderr, "\n{}\n", which);
    Options each = options.each;
    each.domains = domains;
    each.event_abi = abi;
    // The floor is the machine's, not the run's: once for each size.
    if (!with_floor.insert(domains).second) each.floor_vms = 0;
    const Results results = TRY(run(each));
    sweep["runs"].push_back(to_json(results));
    outcome.good = outcome.good && results.good();
    outcome.interrupted = results.interrupted;
    sweep["interrupted"] = outcome.interrupted;
    if (results.wall) walls[abi] = results.wall->domain;
    TRY_VOID(write_all(sweep, options.each.output));
    outcome.report = TRY(write_report_of(sweep, options.each.output));
  }
  if (options.peers > 0 && !outcome.interrupted) {
    TRY_VOID(add_peers(options, sweep));
    outcome.interrupted = sweep["interrupted"].get<bool>();
    TRY_VOID(write_all(sweep, options.each.output));
    outcome.report = TRY(write_report_of(sweep, options.each.output));
  }
  return outcome;
}

}  // namespace xenopolis::experiment
