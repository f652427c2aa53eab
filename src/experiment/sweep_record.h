// What a sweep found, as it is kept in results.json and read again by `polis report`.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace xenopolis::experiment {

struct MachineRecord {
  std::string cpu;
  uint64_t cpus = 0;
  uint64_t memory_mib = 0;
  std::string kernel;
  std::string hypervisor;
  std::string date;
};

// Domains `first` to `last` in the order of their creation, and how long they took from request to up.
struct GroupRecord {
  double first = 0;
  double last = 0;
  double p10_ms = 0;
  double p50_ms = 0;
  double p90_ms = 0;
};

struct LoadRecord {
  double cpu_s = 0;
  double memory_kib = 0;
};

// What xenstore and consoles were asked to do; nothing in older files.
struct TrafficRecord {
  double xenstore_requests = 0;
  double xenstore_events = 0;
  double xenstore_commits = 0;
  double xenstore_conflicts = 0;
  double console_bytes = 0;
};

struct RunRecord {
  std::string backend;
  std::string event_abi;
  uint32_t requested = 0;
  uint32_t up = 0;
  uint32_t alive_at_end = 0;
  uint32_t window = 0;
  uint64_t memory_mib = 0;  // of each domain
  double wall_s = 0;        // until all were up
  double create_p50_ms = 0;
  double create_p99_ms = 0;
  double first_300_ms = 0;
  double last_300_ms = 0;
  std::vector<GroupRecord> by_domain;  // even on a logarithmic axis
  std::vector<GroupRecord> evenly;
  uint64_t pings = 0;
  double ping_p50_us = 0;
  double ping_p99_us = 0;
  double ping_max_us = 0;
  std::vector<std::pair<double, double>> ping_curve;  // fraction, microseconds
  double steady_s = 0;
  uint64_t beats = 0;
  uint64_t beats_missed = 0;
  uint64_t events_delivered = 0;
  uint64_t dom0_channels = 0;
  double memory_kib_per_domain = 0;
  // It is a difference of all the machine's memory, in which few domains go under.
  bool has_memory() const { return memory_kib_per_domain > 0 && up >= 300; }
  std::optional<double> floor_ms;
  double shutdown_s = 0;
  double teardown_s = 0;
  std::map<std::string, LoadRecord> creation_load;
  std::map<std::string, LoadRecord> steady_load;
  TrafficRecord creation_traffic;
  TrafficRecord steady_traffic;
  std::optional<std::pair<uint32_t, std::string>> wall;  // the first domain that could not be, and why
  std::vector<std::string> problems;
  bool interrupted = false;
};

// What one would take instead of domains.
struct PeerRecord {
  std::string name;
  std::string what;  // version, and what runs in it
  uint32_t wanted = 0;
  uint32_t started = 0;
  double each_p50_ms = 0;  // from fork to its first word
  double each_p99_ms = 0;
  double wall_ms_each = 0;  // all of them, divided
  double memory_kib_each = 0;
  std::string note;  // why there is none, or not all
};

struct SweepRecord {
  std::string version;
  std::string command;
  MachineRecord machine;
  uint32_t planned_runs = 0;
  std::vector<RunRecord> runs;
  std::vector<PeerRecord> peers;
  bool interrupted = false;
};

nlohmann::json to_json(const PeerRecord& peer);

// Of a sweep's results.json, or that of a single experiment.
Result<SweepRecord> read_sweep(const nlohmann::json& json);
Result<SweepRecord> read_sweep_file(const std::string& path);

}  // namespace xenopolis::experiment
