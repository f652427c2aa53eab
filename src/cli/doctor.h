// Whether all who keep books on a host say the same: polisd's audit of itself and the machine (toolstack/audit.h),
// beside xenstore, polis-consoled, the processes and the logs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/host_client.h"

namespace xenopolis::cli {

struct Disagreement {
  std::string area;  // as in toolstack::Finding; besides "xenstore", "processes", "logs"
  DomId domid = 0;   // 0: not about one domain
  std::string name;  // of the domain; may be empty
  std::string text;

  bool operator==(const Disagreement&) const = default;
};

struct Diagnosis {
  std::vector<Disagreement> disagreements;
  nlohmann::json counts;     // what there was to look at
  nlohmann::json processes;  // size_of_process() of each
};

// Looks again, some times, before it calls something a disagreement: others go on meanwhile.
Result<Diagnosis> examine(HostClient& host);

// For people; for programs.
std::string to_text(const Diagnosis& diagnosis);
nlohmann::json to_json(const Diagnosis& diagnosis);

}  // namespace xenopolis::cli
