#include "experiment/sweep_record.h"

#include <fmt/format.h>

#include <fstream>

namespace xenopolis::experiment {
namespace {

using nlohmann::json;

// Members that older files lack are left at zero.
template <typename T>
T get(const json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? T() : found->get<T>();
}

const json& part(const json& object, const char* name) {
  static const json kNothing = json::object();
  const auto found = object.find(name);
  return found == object.end() ? kNothing : *found;
}

// Throws if it is none: iterating over a string or a number would pass silently.
const json& object_of(const json& value) {
  value.get_ref<const json::object_t&>();
  return value;
}

MachineRecord read_machine(const json& machine) {
  return {get<std::string>(machine, "cpu"),        get<uint64_t>(machine, "cpus"),
          get<uint64_t>(machine, "memory_mib"),    get<std::string>(machine, "kernel"),
          get<std::string>(machine, "hypervisor"), get<std::string>(machine, "date")};
}

std::vector<GroupRecord> read_groups(const json& groups) {
  std::vector<GroupRecord> all;
  for (const json& group : groups) {
    all.push_back({get<double>(group, "first"), get<double>(group, "last"), get<double>(group, "p10_ms"),
                   get<double>(group, "p50_ms"), get<double>(group, "p90_ms")});
  }
  return all;
}

std::map<std::string, LoadRecord> read_load(const json& load) {
  std::map<std::string, LoadRecord> all;
  for (const auto& [program, used] : load.items()) {
    all[program] = {get<double>(used, "cpu_s"), get<double>(used, "memory_kib")};
  }
  return all;
}

TrafficRecord read_traffic(const json& traffic) {
  return {get<double>(traffic, "xenstore_requests"), get<double>(traffic, "xenstore_events"),
          get<double>(traffic, "xenstore_commits"), get<double>(traffic, "xenstore_conflicts"),
          get<double>(traffic, "console_bytes")};
}

RunRecord read_run(const json& run) {
  RunRecord record;
  record.backend = get<std::string>(run, "backend");
  record.event_abi = get<std::string>(run, "event_abi");
  record.requested = get<uint32_t>(run, "domains_requested");
  record.up = get<uint32_t>(run, "domains_up");
  record.alive_at_end = get<uint32_t>(run, "domains_alive_at_end");
  record.window = get<uint32_t>(run, "creation_window");
  record.memory_mib = get<uint64_t>(run, "memory_mib_per_domain");
  record.wall_s = get<double>(run, "wall_s_to_all_up");
  const json& create = part(run, "create_to_up_ms");
  record.create_p50_ms = get<double>(create, "p50");
  record.create_p99_ms = get<double>(create, "p99");
  record.first_300_ms = get<double>(create, "first_300_mean");
  record.last_300_ms = get<double>(create, "last_300_mean");
  record.by_domain = read_groups(part(run, "create_to_up_by_domain"));
  record.evenly = read_groups(part(run, "create_to_up_evenly"));
  const json& ping = part(run, "ping_us");
  record.pings = get<uint64_t>(ping, "count");
  record.ping_p50_us = get<double>(ping, "p50");
  record.ping_p99_us = get<double>(ping, "p99");
  record.ping_max_us = get<double>(ping, "max");
  for (const json& point : part(ping, "curve")) {
    record.ping_curve.emplace_back(point.at(0).get<double>(), point.at(1).get<double>());
  }
  record.steady_s = get<double>(run, "steady_s");
  record.beats = get<uint64_t>(run, "beats");
  record.beats_missed = get<uint64_t>(run, "beats_missed");
  record.events_delivered = get<uint64_t>(run, "events_delivered");
  record.dom0_channels = get<uint64_t>(run, "dom0_channels");
  record.memory_kib_per_domain = get<double>(run, "memory_kib_per_domain");
  if (const json& floor = part(run, "floor_ms_per_vm"); floor.is_number()) record.floor_ms = floor.get<double>();
  record.shutdown_s = get<double>(run, "shutdown_s");
  record.teardown_s = get<double>(run, "teardown_s");
  record.creation_load = read_load(part(run, "creation_load"));
  record.steady_load = read_load(part(run, "steady_load"));
  record.creation_traffic = read_traffic(part(run, "creation_traffic"));
  record.steady_traffic = read_traffic(part(run, "steady_traffic"));
  if (const json& wall = part(run, "wall"); !wall.empty()) {
    record.wall.emplace(get<uint32_t>(wall, "domain"), get<std::string>(wall, "error"));
  }
  record.problems = get<std::vector<std::string>>(run, "problems");
  record.interrupted = get<bool>(run, "interrupted");
  return record;
}

PeerRecord read_peer(const json& peer) {
  return {get<std::string>(peer, "name"),    get<std::string>(peer, "what"),       get<uint32_t>(peer, "wanted"),
          get<uint32_t>(peer, "started"),    get<double>(peer, "each_p50_ms"),     get<double>(peer, "each_p99_ms"),
          get<double>(peer, "wall_ms_each"), get<double>(peer, "memory_kib_each"), get<std::string>(peer, "note")};
}

}  // namespace

json to_json(const PeerRecord& peer) {
  return {{"name", peer.name},
          {"what", peer.what},
          {"wanted", peer.wanted},
          {"started", peer.started},
          {"each_p50_ms", peer.each_p50_ms},
          {"each_p99_ms", peer.each_p99_ms},
          {"wall_ms_each", peer.wall_ms_each},
          {"memory_kib_each", peer.memory_kib_each},
          {"note", peer.note}};
}

Result<SweepRecord> read_sweep(const json& json) {
  SweepRecord sweep;
  try {
    const bool is_single = !json.contains("runs");
    sweep.version = get<std::string>(json, "version");
    sweep.command = get<std::string>(json, "command");
    sweep.machine = read_machine(part(json, "machine"));
    sweep.interrupted = get<bool>(json, "interrupted");
    if (is_single) {
      sweep.runs.push_back(read_run(json));
    } else {
      for (const auto& run : json.at("runs")) sweep.runs.push_back(read_run(object_of(run)));
    }
    sweep.planned_runs =
        json.contains("planned_runs") ? get<uint32_t>(json, "planned_runs") : static_cast<uint32_t>(sweep.runs.size());
    for (const auto& peer : part(json, "peers")) sweep.peers.push_back(read_peer(object_of(peer)));
  } catch (const nlohmann::json::exception& error) {
    return fail(EINVAL, fmt::format("these are not the results of an experiment: {}", error.what()));
  }
  return sweep;
}

Result<SweepRecord> read_sweep_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail(errno, "opening " + path);
  const json contents = json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!contents.is_object()) return fail(EINVAL, path + " is not JSON");
  return read_sweep(contents);
}

}  // namespace xenopolis::experiment
