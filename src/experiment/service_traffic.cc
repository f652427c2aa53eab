#include "experiment/service_traffic.h"

#include "machine/service_counters.h"

namespace xenopolis::experiment {
namespace {

using machine::ConsoleCounter;
using machine::XenstoreCounter;

// The vCPUs of Dom0's daemons (docs/architecture.md).
constexpr VcpuId kXenstored = 0;
constexpr VcpuId kConsoled = 1;

template <class Which>
uint64_t counted(VcpuId daemon, Which which) {
  return machine::statistics_of(machine::dom0_doorbell(daemon))
      .service[static_cast<size_t>(which)]
      .load(std::memory_order_relaxed);
}

}  // namespace

ServiceTraffic service_traffic() {
  ServiceTraffic traffic;
  for (uint32_t type = 0; type <= kXsTypeCount; ++type) traffic.xenstore_requests += counted(kXenstored, type);
  traffic.xenstore_events = counted(kXenstored, XenstoreCounter::kEvents);
  traffic.xenstore_commits = counted(kXenstored, XenstoreCounter::kCommits);
  traffic.xenstore_conflicts = counted(kXenstored, XenstoreCounter::kConflicts);
  traffic.console_bytes = counted(kConsoled, ConsoleCounter::kOutputBytes);
  return traffic;
}

ServiceTraffic traffic_between(const ServiceTraffic& before, const ServiceTraffic& after) {
  return {after.xenstore_requests - before.xenstore_requests, after.xenstore_events - before.xenstore_events,
          after.xenstore_commits - before.xenstore_commits, after.xenstore_conflicts - before.xenstore_conflicts,
          after.console_bytes - before.console_bytes};
}

nlohmann::json to_json(const ServiceTraffic& traffic) {
  return {{"xenstore_requests", traffic.xenstore_requests},
          {"xenstore_events", traffic.xenstore_events},
          {"xenstore_commits", traffic.xenstore_commits},
          {"xenstore_conflicts", traffic.xenstore_conflicts},
          {"console_bytes", traffic.console_bytes}};
}

}  // namespace xenopolis::experiment
