// What a host's xenstore and consoles were asked to do.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

namespace xenopolis::experiment {

struct ServiceTraffic {
  uint64_t xenstore_requests = 0;
  uint64_t xenstore_events = 0;     // of watches
  uint64_t xenstore_commits = 0;    // of transactions
  uint64_t xenstore_conflicts = 0;  // transactions to be done again
  uint64_t console_bytes = 0;       // that guests wrote
};

// Since the machine is there, which is attached.
ServiceTraffic service_traffic();
ServiceTraffic traffic_between(const ServiceTraffic& before, const ServiceTraffic& after);
nlohmann::json to_json(const ServiceTraffic& traffic);

}  // namespace xenopolis::experiment
