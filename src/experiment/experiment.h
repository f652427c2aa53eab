// The 3,000 domains experiment: create, all up, steady state, shutdown, teardown.
#pragma once

#include "base/result.h"
#include "experiment/options.h"
#include "experiment/results.h"

namespace xenopolis::experiment {

// Runs it all and leaves nothing behind, also after SIGINT or SIGTERM (Results::interrupted then). An error means that
// it could not start; domains that fail are results.
Result<Results> run(const Options& options);

}  // namespace xenopolis::experiment
