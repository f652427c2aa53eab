// The machine's side of the daemon: rings in guests' memory, and their event channels.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "event/consumer.h"
#include "machine/machine.h"
#include "xenstore/server.h"

namespace xenopolis::xenstore {

// One of Dom0's vCPUs.
class MachineLink final : public DomainLink {
 public:
  // The vCPU that polis-xenstored is.
  static constexpr VcpuId kVcpu = 0;

  static Result<std::unique_ptr<MachineLink>> create(Fd machine, std::vector<Fd> doorbells);

  // A channel that a predecessor has bound, who died, is taken over.
  XsResult<AttachedRing> attach(DomId domid, Gfn gfn, Port port) override;
  bool exists(DomId domid) const override;

  // Readable when a guest has sent an event.
  int fd() const { return consumer_->fd(); }
  void drain(Server& server);
  // Where rings and event channels are mapped.
  std::span<uint8_t> memory() const { return machine_.memory(); }

 private:
  class BoundPort;

  explicit MachineLink(machine::Machine machine) : machine_(std::move(machine)), channels_(machine_) {}

  machine::Machine machine_;
  event::EventChannels channels_;
  std::optional<event::Consumer> consumer_;
  std::unordered_map<Port, DomId> domains_;  // by our port
};

}  // namespace xenopolis::xenstore
