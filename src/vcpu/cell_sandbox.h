// What a cell may still do once it runs guests.
#pragma once

#include <span>

#include "base/result.h"
#include "vcpu/backend.h"

namespace xenopolis::vcpu {

// For good, before the first request of `control_fd`: no privileges, no paths, few descriptors, and the system calls
// that running guests takes, with only the ioctls of `backend`. Any other ends the process, but for those that
// libraries make now and then and can do without, which are refused. `doorbell_fds`: the eventfds of Dom0's vCPUs.
Status enter_sandbox(const Backend& backend, int control_fd, std::span<const int> doorbell_fds);

}  // namespace xenopolis::vcpu
