#include "console/machine_link.h"

#include <fmt/format.h>

#include "machine/domain_memory.h"

namespace xenopolis::console {

// The page that start_info names is the domain's own memory; that of a console as a device is granted.
Result<uint8_t*> MachineLink::map(const ConsoleRequest& request) {
  const DomId domid = request.console.domid;
  if (domid >= kDomIdCount) return fail(EINVAL, fmt::format("{} is no domain's number", domid));
  if (request.is_granted != 0) {
    void* page = nullptr;
    const int16_t mapped = grants_.map(kDom0, domid, request.grant, /*read_only=*/false, &page);
    if (mapped == GNTST_okay) return static_cast<uint8_t*>(page);
    return fail(EINVAL, fmt::format("mapping grant {} of domain {}: status {}", request.grant, domid, mapped));
  }
  uint8_t* page = machine::memory_of(domid).ram_page(request.gfn);
  if (page == nullptr) return fail(EINVAL, fmt::format("domain {} has no frame {}", domid, request.gfn));
  return page;
}

void MachineLink::unmap(const Bound& bound) {
  // Fails when the domain is gone already.
  if (bound.is_granted) grants_.unmap(kDom0, bound.domid, bound.grant, /*read_only=*/false);
}

Result<AttachedConsole> MachineLink::attach(const ConsoleRequest& request) {
  uint8_t* page = TRY(map(request));
  const Bound bound{request.console.domid, request.is_granted != 0, request.grant};
  const XenResult<Port> port = consumer_.bind_or_take_over(bound.domid, request.remote_port,
                                                           [this](Port taken) { return bound_.contains(taken); });
  if (!port) {
    unmap(bound);
    return fail(static_cast<int>(port.error()),
                fmt::format("binding port {} of domain {}", request.remote_port, bound.domid));
  }
  bound_[*port] = bound;
  return AttachedConsole{reinterpret_cast<xencons_interface*>(page), *port};
}

// Fails when the guest has closed its end or is gone: then nobody waits.
void MachineLink::notify(Port port) {
  static_cast<void>(consumer_.send(port));
}

void MachineLink::detach(Port port) {
  static_cast<void>(consumer_.close(port));
  const auto bound = bound_.find(port);
  if (bound == bound_.end()) return;
  unmap(bound->second);
  bound_.erase(bound);
}

}  // namespace xenopolis::console
