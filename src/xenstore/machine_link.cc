#include "xenstore/machine_link.h"

#include "base/log.h"
#include "machine/domain_memory.h"

namespace xenopolis::xenstore {

class MachineLink::BoundPort final : public RingPort {
 public:
  BoundPort(MachineLink& link, Port port) : link_(link), port_(port) {}
  ~BoundPort() override {
    link_.domains_.erase(port_);
    if (!link_.consumer_->close(port_)) log::warn("closing port {} failed", port_);
  }
  // Fails when the domain has closed its end: then nobody waits.
  void notify() override { (void)link_.consumer_->send(port_); }

 private:
  MachineLink& link_;
  Port port_;
};

Result<std::unique_ptr<MachineLink>> MachineLink::create(Fd machine, std::vector<Fd> doorbells) {
  std::unique_ptr<MachineLink> link(
      new MachineLink(TRY(machine::Machine::attach(std::move(machine), std::move(doorbells)))));
  link->consumer_.emplace(TRY(event::Consumer::attach(link->channels_, kVcpu)));
  return link;
}

bool MachineLink::exists(DomId domid) const {
  return machine::memory_of(domid).extent.pages != 0;
}

XsResult<AttachedRing> MachineLink::attach(DomId domid, Gfn gfn, Port port) {
  uint8_t* page = exists(domid) ? machine::memory_of(domid).page(gfn) : nullptr;
  if (page == nullptr) return xs_fail(XsError::kInval);
  const XenResult<Port> local =
      consumer_->bind_or_take_over(domid, port, [this](Port bound) { return domains_.contains(bound); });
  if (!local) {
    log::warn("binding port {} of domain {}: errno {}", port, domid, static_cast<int>(local.error()));
    return xs_fail(local.error() == XenErrno::kNoSpc ? XsError::kNoSpc : XsError::kInval);
  }
  domains_[*local] = domid;
  return AttachedRing{reinterpret_cast<xenstore_domain_interface*>(page), std::make_unique<BoundPort>(*this, *local)};
}

void MachineLink::drain(Server& server) {
  consumer_->drain([&](Port port) {
    const auto domain = domains_.find(port);
    if (domain != domains_.end()) server.domain_event(domain->second);
  });
}

}  // namespace xenopolis::xenstore
