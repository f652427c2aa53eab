// The diagrams of a report.
#pragma once

#include <string>
#include <string_view>

#include "experiment/report_frame.h"
#include "experiment/report_runs.h"
#include "experiment/sweep_record.h"

namespace xenopolis::experiment {

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
