// The steady state: every domain beats, and Dom0 pings every domain over its channels.
#pragma once

#include <functional>

#include "experiment/fleet.h"

namespace xenopolis::experiment {

// Runs for options.seconds, or until `interrupted`. Fills beats, beats_missed, round trips, events, channels.
Status run_steady_state(EventLoop& loop, PrivateHost& host, Fleet& fleet, const Options& options,
                        const std::function<bool()>& interrupted, Results& results);

}  // namespace xenopolis::experiment
