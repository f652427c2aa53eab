#include "experiment/results.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "experiment/machine_description.h"
#include "experiment/statistics.h"

namespace xenopolis::experiment {
namespace {

constexpr size_t kEndSample = 300;
// Points of curves in reports: eight groups a decade, and fifty over all.
constexpr double kGroupRatio = 1.3335;
constexpr size_t kEvenGroups = 50;
constexpr double kPingFractions[] = {0.0,  0.1,   0.25,  0.5,   0.75,   0.9,    0.95,   0.98,
                                     0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 0.99999};

nlohmann::json groups_json(const std::vector<Group>& groups) {
  nlohmann::json json = nlohmann::json::array();
  for (const Group& group : groups) {
    json.push_back({{"first", group.first},
                    {"last", group.last},
                    {"p10_ms", group.p10},
                    {"p50_ms", group.p50},
                    {"p90_ms", group.p90}});
  }
  return json;
}

// Pairs of a fraction and the round trip that so many did not exceed, as far as there are samples for it.
nlohmann::json ping_curve(const std::vector<double>& round_trips_us) {
  nlohmann::json json = nlohmann::json::array();
  const std::vector<double> values = percentiles(round_trips_us, kPingFractions);
  for (size_t index = 0; index < values.size(); ++index) {
    const double samples_above = (1 - kPingFractions[index]) * static_cast<double>(round_trips_us.size());
    if (samples_above >= 1) json.push_back({kPingFractions[index], values[index]});
  }
  return json;
}

}  // namespace

std::optional<double> Results::ratio_to_floor() const {
  if (!floor_ms_per_vm || *floor_ms_per_vm <= 0 || domains_up == 0) return std::nullopt;
  return wall_s_to_all_up * 1e3 / domains_up / *floor_ms_per_vm;
}

double Results::first_300_mean_ms() const {
  const std::span all(create_to_up_ms);
  return mean(all.first(std::min(kEndSample, all.size())));
}

double Results::last_300_mean_ms() const {
  const std::span all(create_to_up_ms);
  return mean(all.last(std::min(kEndSample, all.size())));
}

bool Results::good() const {
  // The old ABI's wall is what one asks for with 2l.
  const bool as_wanted = domains_up == options.domains || (wall && options.event_abi == "2l");
  return as_wanted && domains_up > 0 && domains_alive_at_end == domains_up && processes_left == 0 && !interrupted;
}

nlohmann::json to_json(const Results& r) {
  nlohmann::json json{
      {"domains_requested", r.options.domains},
      {"domains_up", r.domains_up},
      {"domains_alive_at_end", r.domains_alive_at_end},
      {"domains_crashed", r.domains_crashed},
      {"domains_shut_down", r.domains_shut_down},
      {"backend", r.backend},
      {"backend_why", r.backend_why},
      {"event_abi", r.options.event_abi},
      {"guest", r.options.guest},
      {"memory_mib_per_domain", r.options.memory_mib},
      {"domains_per_cell", r.options.domains_per_cell},
      {"creation_window", r.options.window},
      {"wall_s_to_all_up", r.wall_s_to_all_up},
      {"create_to_up_ms",
       {{"p50", percentile(r.create_to_up_ms, 0.50)},
        {"p99", percentile(r.create_to_up_ms, 0.99)},
        {"first_300_mean", r.first_300_mean_ms()},
        {"last_300_mean", r.last_300_mean_ms()}}},
      {"create_to_up_by_domain", groups_json(logarithmic_groups(r.create_to_up_ms, kGroupRatio))},
      {"create_to_up_evenly", groups_json(even_groups(r.create_to_up_ms, kEvenGroups))},
      {"ping_us",
       {{"count", r.round_trips_us.size()},
        {"p50", percentile(r.round_trips_us, 0.50)},
        {"p99", percentile(r.round_trips_us, 0.99)},
        {"max", percentile(r.round_trips_us, 1.0)},
        {"curve", ping_curve(r.round_trips_us)}}},
      {"steady_s", r.steady_s},
      {"beats", r.beats},
      {"beats_missed", r.beats_missed},
      {"events_delivered", r.events_delivered},
      {"hypercalls", r.hypercalls},
      {"dom0_channels", r.dom0_channels},
      {"memory_kib_per_domain", r.memory_kib_per_domain},
      {"floor_ms_per_vm", r.floor_ms_per_vm ? nlohmann::json(*r.floor_ms_per_vm) : nlohmann::json()},
      {"ratio_to_floor", r.ratio_to_floor() ? nlohmann::json(*r.ratio_to_floor()) : nlohmann::json()},
      {"creation_load", to_json(r.creation_load)},
      {"steady_load", to_json(r.steady_load)},
      {"creation_traffic", to_json(r.creation_traffic)},
      {"steady_traffic", to_json(r.steady_traffic)},
      {"beat_ms", r.options.beat_ms},
      {"shutdown_s", r.shutdown_s},
      {"teardown_s", r.teardown_s},
      {"memory_kib_not_returned", r.memory_kib_not_returned},
      {"processes_left", r.processes_left},
      {"interrupted", r.interrupted},
      {"problems", r.problems},
      {"machine", describe_machine()},
  };
  if (r.wall) json["wall"] = {{"domain", r.wall->domain}, {"error", r.wall->error}};
  return json;
}

std::string to_table(const Results& r) {
  std::string table;
  const auto row = [&table](std::string_view what, const std::string& value) {
    table += fmt::format("  {:<26} {}\n", what, value);
  };
  const nlohmann::json machine = describe_machine();
  table += fmt::format("\n{} x{}, {} MiB, {}, hypervisor {}\n", machine["cpu"].get<std::string>(),
                       machine["cpus"].get<long>(), machine["memory_mib"].get<uint64_t>(),
                       machine["kernel"].get<std::string>(), machine["hypervisor"].get<std::string>());
  row("backend", fmt::format("{} ({})", r.backend, r.backend_why));
  row("event channel ABI", r.options.event_abi);
  row("domains up", fmt::format("{} of {}", r.domains_up, r.options.domains));
  if (r.wall) row("the wall", fmt::format("domain {}: {}", r.wall->domain, r.wall->error));
  if (r.domains_up > 0) {
    row("wall time to all up",
        fmt::format("{:.2f} s, {:.3f} ms a domain", r.wall_s_to_all_up, r.wall_s_to_all_up * 1e3 / r.domains_up));
    row("floor", r.floor_ms_per_vm ? fmt::format("{:.3f} ms a bare VM", *r.floor_ms_per_vm) : r.floor_note);
    if (r.ratio_to_floor()) row("ratio to the floor", fmt::format("{:.2f}", *r.ratio_to_floor()));
    row("create to up", fmt::format("p50 {:.2f} ms, p99 {:.2f} ms", percentile(r.create_to_up_ms, 0.5),
                                    percentile(r.create_to_up_ms, 0.99)));
    row("  first 300, last 300", fmt::format("{:.2f} ms, {:.2f} ms ({:.2f} x)", r.first_300_mean_ms(),
                                             r.last_300_mean_ms(), r.last_300_mean_ms() / r.first_300_mean_ms()));
    row("memory",
        fmt::format("{:.0f} KiB a domain of {} MiB, all included", r.memory_kib_per_domain, r.options.memory_mib));
    row("Dom0's channels", fmt::format("{}", r.dom0_channels));
  }
  if (r.citizens && r.steady_s > 0) {
    row("steady state", fmt::format("{:.1f} s: {} beats, {} missed", r.steady_s, r.beats, r.beats_missed));
    row("ping round trip",
        fmt::format("p50 {:.0f} us, p99 {:.0f} us, max {:.0f} us ({} pings)", percentile(r.round_trips_us, 0.5),
                    percentile(r.round_trips_us, 0.99), percentile(r.round_trips_us, 1.0), r.round_trips_us.size()));
    row("events delivered", fmt::format("{}", r.events_delivered));
  }
  row("alive at the end", fmt::format("{}{}", r.domains_alive_at_end,
                                      r.domains_crashed > 0 ? fmt::format(" ({} crashed)", r.domains_crashed) : ""));
  row("shutdown, teardown",
      fmt::format("{:.2f} s, {:.2f} s; {} processes left, memory {:+.0f} MiB", r.shutdown_s, r.teardown_s,
                  r.processes_left, static_cast<double>(r.memory_kib_not_returned) / 1024));
  for (const std::string& problem : r.problems) row("problem", problem);
  return table;
}

Status write_json(const Results& results, const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return fail(error.value(), "creating " + directory);
  const std::string path = directory + "/results.json";
  std::ofstream file(path, std::ios::trunc);
  file << to_json(results).dump(2) << "\n";
  file.close();
  if (!file) return fail(EIO, "writing " + path);
  return {};
}

}  // namespace xenopolis::experiment
