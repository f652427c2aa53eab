// The guest's side of an event channel ABI, as Dom0's consumers need it: what Linux keeps in events_fifo.c,
// events_2l.c.
#pragma once

#include <array>
#include <memory>

#include "event/consumer.h"
#include "event/port_table.h"

namespace xenopolis::event {

class Dom0Side {
 public:
  virtual ~Dom0Side() = default;

  // The port is about to be used. kNoMem.
  virtual XenStatus add(Port port) = 0;
  virtual void mask(Port port) = 0;
  virtual bool is_masked(Port port) const = 0;
  // True: the hypervisor must be asked (EVTCHNOP_unmask).
  virtual bool unmask(Port port) = 0;
  // Something of a higher priority than the default one has come since the last look.
  virtual bool has_urgent() const { return false; }
  // Calls back for at most `budget` pending ports; returns how many. `more`: there may be others.
  virtual uint32_t drain(const Consumer::Handler& handler, uint32_t budget, bool& more) = 0;
};

std::unique_ptr<Dom0Side> make_dom0_fifo(machine::Machine& machine, VcpuId vcpu);
std::unique_ptr<Dom0Side> make_dom0_two_level(VcpuId vcpu);
std::unique_ptr<Dom0Side> make_dom0_three_level(VcpuId vcpu);
// For the ABI that Dom0 speaks.
std::unique_ptr<Dom0Side> make_dom0_side(machine::Machine& machine, VcpuId vcpu);

}  // namespace xenopolis::event
