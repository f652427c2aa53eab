// What an experiment found, and how it is told: a table for people, results.json for programs.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "experiment/host_load.h"
#include "experiment/options.h"
#include "experiment/service_traffic.h"

namespace xenopolis::experiment {

// Where creating more domains ended.
struct Wall {
  uint32_t domain = 0;  // the first that could not be: 1 is the first domain of all
  std::string error;
};

struct Results {
  Options options;
  std::string backend;
  std::string backend_why;
  uint32_t domains_created = 0;
  uint32_t domains_up = 0;
  uint32_t domains_alive_at_end = 0;
  uint32_t domains_crashed = 0;
  uint32_t domains_shut_down = 0;  // by themselves, when asked through xenstore
  std::optional<Wall> wall;
  double wall_s_to_all_up = 0;
  std::vector<double> create_to_up_ms;  // in the order of creation
  bool citizens = true;                 // false: another guest, which is not pinged and does not beat
  std::vector<double> round_trips_us;
  uint64_t beats = 0;
  uint64_t beats_missed = 0;
  double steady_s = 0;
  uint64_t events_delivered = 0;
  uint64_t hypercalls = 0;
  uint32_t dom0_channels = 0;
  double memory_kib_per_domain = 0;
  std::optional<double> floor_ms_per_vm;
  std::string floor_note;  // why there is none
  HostLoad creation_load;  // until all were up
  HostLoad steady_load;
  ServiceTraffic creation_traffic;  // as long as the loads
  ServiceTraffic steady_traffic;
  double shutdown_s = 0;
  double teardown_s = 0;
  int64_t memory_kib_not_returned = 0;  // host memory after the experiment, compared with before
  uint32_t processes_left = 0;
  bool interrupted = false;
  std::vector<std::string> problems;  // the first few, for people

  // Wall time of all domains, per domain, divided by the floor.
  std::optional<double> ratio_to_floor() const;
  double first_300_mean_ms() const;
  double last_300_mean_ms() const;
  // Everything came up that could, and nothing died or was left behind.
  bool good() const;
};

nlohmann::json to_json(const Results& results);
std::string to_table(const Results& results);
Status write_json(const Results& results, const std::string& directory);

}  // namespace xenopolis::experiment
