// Dom0's side of event channels: what Linux' Xen event driver does in the talk, for one Dom0 vCPU and its thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "event/event_channels.h"

namespace xenopolis::event {

class Dom0Side;

// Prepares domain 0 in a fresh machine: its shared_info, kDom0VcpuCount vCPUs, and the ABI that its consumers will use.
Status create_dom0(EventChannels& channels, Abi abi);

// One Dom0 vCPU, driven by one thread of a backend process: the same guest-side protocol as any guest (control block,
// event array and priorities for FIFO; selector and bitmap scan for 2-level), on memory of the machine.
//
// Not thread-safe; every call comes from the one thread, except that other consumers of Dom0 may run concurrently.
class Consumer {
 public:
  // Called for one pending port, already unmarked.
  using Handler = std::function<void(Port)>;

  // Claims Dom0's vCPU `vcpu` (< kDom0VcpuCount). A predecessor that died is succeeded: what it left pending is served.
  static Result<Consumer> attach(EventChannels& channels, VcpuId vcpu);
  Consumer(Consumer&&) noexcept;
  Consumer& operator=(Consumer&&) noexcept;
  ~Consumer();

  // Readable when there may be something to drain (an eventfd, for epoll).
  int fd() const;

  // Serves pending ports by priority; at most `budget` of them. Returns how many were served. When the budget ran out,
  // fd() stays readable. Cost: the events pending, never the channels that exist.
  uint32_t drain(const Handler& handler, uint32_t budget = 256);

  // Binds to a channel that a domain has offered to Dom0, on this vCPU, unmasked. The FIFO array grows as needed.
  XenResult<Port> bind_interdomain(DomId remote_domid, Port remote_port);
  // The same, or takes over what a predecessor has bound to that channel, who died; unless `in_use(port of Dom0)`: this
  // process has it itself, and EVTCHNOP_bind_interdomain's error is the answer.
  XenResult<Port> bind_or_take_over(DomId remote_domid, Port remote_port, const std::function<bool(Port)>& in_use);
  XenResult<Port> bind_virq(uint32_t virq);
  XenStatus send(Port port) { return channels_->send(kDom0, port); }
  XenStatus close(Port port);
  // Serves the port on this vCPU from now on, whichever of Dom0's it has notified before. An event that waits there is
  // served there or here. For one port, one call at a time, and no mask() or unmask() meanwhile.
  XenStatus take_over(Port port);
  void mask(Port port);
  XenStatus unmask(Port port);

  uint64_t events_served() const { return events_served_; }

 private:
  Consumer(EventChannels& channels, VcpuId vcpu, std::unique_ptr<Dom0Side> side);
  XenResult<Port> use(XenResult<Port> bound);
  void acknowledge();
  void linger() const;

  EventChannels* channels_;
  VcpuId vcpu_;
  std::unique_ptr<Dom0Side> side_;  // the ABI
  uint64_t linger_ns_ = 0;          // how long to wait for more before acknowledging; 0: not busy
  uint64_t events_served_ = 0;
};

}  // namespace xenopolis::event
