// The report of a sweep: a page that needs nothing but itself, and its first picture as a file of its own.
#pragma once

#include <string>

#include "base/result.h"
#include "experiment/sweep_record.h"

namespace xenopolis::experiment {

// EINVAL if no domain was up in any run: there is nothing to draw.
Result<std::string> report_page(const SweepRecord& sweep);
// The first diagram with a heading, light and dark, as an SVG file.
Result<std::string> report_picture(const SweepRecord& sweep);

// report.html in `directory`; its path.
Result<std::string> write_report(const SweepRecord& sweep, const std::string& directory);

}  // namespace xenopolis::experiment
