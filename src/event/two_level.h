// The 2-level ABI: a pending and a mask bitmap in shared_info, and a selector word per vCPU (<xen/xen.h>, struct
// shared_info and vcpu_info).
#pragma once

#include "event/event_abi.h"

namespace xenopolis::event {

class TwoLevelAbi final : public EventAbi {
 public:
  uint32_t port_limit() const override { return kTwoLevelPorts; }
  VcpuId other_vcpu(PortWord word) const override { return word.vcpu(); }
  Raised set_pending(const Delivery& delivery) const override;
  void finish_linking(DomainChannels&, VcpuId, const JournalEntry&) const override {}
  void clear_pending(DomainChannels& domain, Port port) const override;
  void clear_mask(DomainChannels& domain, Port port) const override;
  bool is_pending(const DomainChannels& domain, Port port) const override;
  bool is_masked(const DomainChannels& domain, Port port) const override;
  bool is_busy(const DomainChannels&, Port) const override { return false; }
};

}  // namespace xenopolis::event
