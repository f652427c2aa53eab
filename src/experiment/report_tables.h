// The tables of a report, as HTML.
#pragma once

#include <string>

#include "experiment/sweep_record.h"

namespace xenopolis::experiment {

// Where each ABI ends by arithmetic, and what ended it here.
std::string limits_table(const SweepRecord& sweep);
std::string peers_table(const SweepRecord& sweep);
std::string published_table();
std::string runs_table(const SweepRecord& sweep);
// What each of a host's programs used in the largest run; empty if that is not known.
// What they were asked to do; empty where the results do not say it.
std::string traffic_table(const SweepRecord& sweep);
std::string programs_table(const SweepRecord& sweep);

}  // namespace xenopolis::experiment
