// A machine as good as new for each of many short runs.
#pragma once

#include "event/test_world.h"

namespace xenopolis::event::model {

// The process's one machine, as it was when it was made: for domains up to `last`, which are the only ones that anybody
// has used. Making another machine costs more than a short run. Nothing of the last run may be in use any more.
World& fresh_world(DomId last);

}  // namespace xenopolis::event::model
