// Console rings of the machine's domains.
#pragma once

#include "console/server.h"
#include "event/consumer.h"

namespace xenopolis::console {

class MachineLink final : public DomainLink {
 public:
  // `consumer` is this process' Dom0 vCPU and must outlive the link.
  explicit MachineLink(event::Consumer& consumer) : consumer_(consumer) {}

  Result<AttachedConsole> attach(DomId domid, Gfn console_gfn, Port remote_port) override;
  void notify(Port port) override;
  void detach(Port port) override;

 private:
  event::Consumer& consumer_;
};

}  // namespace xenopolis::console
