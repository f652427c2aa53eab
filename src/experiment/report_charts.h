// The diagrams of a report.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "experiment/sweep_record.h"

namespace xenopolis::experiment {

// The runs of one ABI in which domains were up, by their number.
std::vector<const RunRecord*> runs_of(const SweepRecord& sweep, std::string_view event_abi);
// The run with most domains; of several the one whose ABI comes first in kReportAbis. Null if none was up.
const RunRecord* largest_run(const SweepRecord& sweep);

inline constexpr std::string_view kReportAbis[] = {"fifo", "3l", "2l"};
std::string abi_name(std::string_view event_abi);  // "FIFO", "3-level", "2-level"

// What a reader must know who compares: others' are up and rest, domains are up and work. Empty where they do not.
std::string what_domains_do_meanwhile(const SweepRecord& sweep);

// Wide for pages and paper, narrow for telephones; both in the page, and style sheets choose.
enum class Width { kWide, kNarrow };

// Each is empty where there is nothing to draw.
std::string creation_chart(const SweepRecord& sweep, Width width);
// The same for a file of its own.
std::string creation_picture(const SweepRecord& sweep);
std::string all_up_chart(const SweepRecord& sweep, Width width);
std::string per_domain_chart(const SweepRecord& sweep, Width width);
std::string one_after_the_other_chart(const SweepRecord& sweep, Width width);
std::string latency_chart(const SweepRecord& sweep, std::string_view event_abi, Width width);
std::string memory_chart(const SweepRecord& sweep, Width width);
std::string creation_load_chart(const SweepRecord& sweep, Width width);
std::string steady_load_chart(const SweepRecord& sweep, Width width);

}  // namespace xenopolis::experiment
