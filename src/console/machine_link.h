// Console rings of the machine's domains.
#pragma once

#include <unordered_map>

#include "console/server.h"
#include "event/consumer.h"
#include "grant/grant_table.h"

namespace xenopolis::console {

class MachineLink final : public DomainLink {
 public:
  // `consumer` is this process' Dom0 vCPU. Both must outlive the link.
  MachineLink(event::Consumer& consumer, grant::GrantTables& grants) : consumer_(consumer), grants_(grants) {}

  Result<AttachedConsole> attach(const ConsoleRequest& request) override;
  void notify(Port port) override;
  void detach(Port port) override;

 private:
  struct Bound {
    DomId domid;
    bool is_granted;
    grant_ref_t grant;
  };
  Result<uint8_t*> map(const ConsoleRequest& request);
  void unmap(const Bound& bound);

  event::Consumer& consumer_;
  grant::GrantTables& grants_;
  std::unordered_map<Port, Bound> bound_;  // by our port
};

}  // namespace xenopolis::console
