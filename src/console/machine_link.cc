#include "console/machine_link.h"

#include <fmt/format.h>

#include "machine/domain_memory.h"

namespace xenopolis::console {

Result<AttachedConsole> MachineLink::attach(DomId domid, Gfn console_gfn, Port remote_port) {
  if (domid >= kDomIdCount) return fail(EINVAL, fmt::format("{} is no domain's number", domid));
  uint8_t* page = machine::memory_of(domid).ram_page(console_gfn);
  if (page == nullptr) return fail(EINVAL, fmt::format("domain {} has no frame {}", domid, console_gfn));
  const XenResult<Port> port = consumer_.bind_interdomain(domid, remote_port);
  if (!port) {
    return fail(static_cast<int>(port.error()), fmt::format("binding port {} of domain {}", remote_port, domid));
  }
  return AttachedConsole{reinterpret_cast<xencons_interface*>(page), *port};
}

// Fails when the guest has closed its end or is gone: then nobody waits for room.
void MachineLink::notify(Port port) {
  static_cast<void>(consumer_.send(port));
}

void MachineLink::detach(Port port) {
  static_cast<void>(consumer_.close(port));
}

}  // namespace xenopolis::console
