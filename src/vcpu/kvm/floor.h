// What KVM itself costs on this machine: the floor under the creation of a domain.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace xenopolis::vcpu::kvm {

// Wall time per virtual machine, in ms, of creating `domains` BareVms, each run through `exits` exits: in child
// processes of `per_process` each, `processes` of which work at a time; all stay alive until the last is done. Forks:
// the caller has one thread.
Result<double> measure_floor(uint32_t domains, uint32_t per_process, uint32_t processes, uint32_t exits);

}  // namespace xenopolis::vcpu::kvm
