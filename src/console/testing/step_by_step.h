// For tests: kills a process at every instruction. What it leaves in shared memory is looked at each time.
#pragma once

#include <functional>
#include <vector>

#include "base/fd.h"
#include "console/testing/memory_file.h"

namespace xenopolis::console {

// Runs `prepare` and then `act` in a child, `act` one instruction at a time. Whenever an instruction has changed one of
// `files`, and at the very beginning and end, `look` gets all their contents: whoever finds them then finds what a
// process left behind that was killed there. Returns how many such moments there were; 0: no ptrace(2) here.
unsigned for_every_moment(const std::vector<const Fd*>& files, const std::function<void()>& prepare,
                          const std::function<void()>& act,
                          const std::function<void(const std::vector<FileContents>&)>& look);

}  // namespace xenopolis::console
