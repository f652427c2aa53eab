// A machine whose guests are this process: each has a few pages and an event channel, and no vCPU that runs.
#pragma once

#include <set>
#include <vector>

#include "event/event_channels.h"
#include "machine/machine.h"

namespace xenopolis::bench {

// /proc/PID/smaps names the machine so.
inline constexpr const char* kMachineFile = "/memfd:xenopolis-machine";

class MachineGuests {
 public:
  // With a Dom0 that speaks FIFO.
  MachineGuests();

  // What a Dom0 daemon is started with: toolstack::machine_arguments(), and these.
  std::vector<int> fds() const { return machine_.fds(); }

  // Two-level, as every domain begins; events ring one of the doorbells that cells would have. Its memory is a page of
  // RAM, which is zero, and the hypervisor's.
  void add(DomId domid);
  static constexpr Gfn kPageGfn = 0;
  static uint8_t* page(DomId domid);
  // For Dom0 to bind to.
  Port port(DomId domid) const { return ports_.at(domid); }

  // The guest's event to Dom0.
  void notify(DomId domid);
  // Sleeps until Dom0's event to the guest; may return early. False after kPatienceMs.
  bool wait(DomId domid);

 private:
  machine::Machine machine_;
  event::EventChannels channels_;
  std::vector<Port> ports_;  // by domid
  std::set<machine::DoorbellId> adopted_;
};

}  // namespace xenopolis::bench
