// The runs of a sweep as a report speaks of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "experiment/sweep_record.h"

namespace xenopolis::experiment {

inline constexpr std::string_view kReportAbis[] = {"fifo", "3l", "2l"};
std::string abi_name(std::string_view event_abi);  // "FIFO", "3-level", "2-level"

// The runs of one ABI in which domains were up, by their number.
std::vector<const RunRecord*> runs_of(const SweepRecord& sweep, std::string_view event_abi);
// The run with most domains; of several the one whose ABI comes first in kReportAbis. Null if none was up.
const RunRecord* largest_run(const SweepRecord& sweep);

// What a reader must know who compares: others' are up and rest, domains are up and work. Empty where they do not.
std::string what_domains_do_meanwhile(const SweepRecord& sweep);

}  // namespace xenopolis::experiment
