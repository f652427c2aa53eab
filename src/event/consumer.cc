#include "event/consumer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "event/connection.h"
#include "event/dom0_side.h"
#include "event/setup.h"

namespace xenopolis::event {
namespace {

// So many at a time: events come faster than wake-ups; and with fewer, consumer and senders fight for the same cache
// lines.
constexpr uint32_t kBusyBatch = 64;
// From long beside sending an event (0.1 us) to short beside a wake-up (10 us and more).
constexpr uint64_t kShortestLingerNs = 1000, kLongestLingerNs = 16000;

}  // namespace

Consumer::Consumer(EventChannels& channels, VcpuId vcpu, std::unique_ptr<Dom0Side> side)
    : channels_(&channels), vcpu_(vcpu), side_(std::move(side)) {}
Consumer::Consumer(Consumer&&) noexcept = default;
Consumer& Consumer::operator=(Consumer&&) noexcept = default;
Consumer::~Consumer() = default;

Result<Consumer> Consumer::attach(EventChannels& channels, VcpuId vcpu) {
  if (vcpu >= machine::kDom0VcpuCount) return fail(EINVAL, fmt::format("Dom0 has no vCPU {}", vcpu));
  if (!is_alive(kDom0)) return fail(ENOENT, "Dom0 has not been created");
  machine::Machine& machine = channels.machine();
  const machine::DoorbellId bell = machine::dom0_doorbell(vcpu);
  machine.doorbells().adopt(bell);
  restart_dom0_queues(machine, vcpu);
  Consumer consumer(channels, vcpu, make_dom0_side(machine, vcpu));
  channels.set_doorbell(kDom0, vcpu, bell, 0);
  // A predecessor may have died after it emptied the eventfd and before it took the mark: no ring would get past that
  // mark. So take it, and look at the queues once, whatever it stood for.
  machine.doorbells().take(bell);
  machine.doorbells().ring(bell, 0);
  return consumer;
}

int Consumer::fd() const {
  return channels_->machine().dom0_eventfd(vcpu_);
}

// In this order. A sender sets READY (or the selector), then the upcall flag, then the mark, then writes the eventfd,
// and leaves out what is set already. Whatever it left out is undone here only before the step that it relies on is
// looked at: its event is found by whoever looks at the queues after this.
void Consumer::acknowledge() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t cleared = read(fd(), &count, sizeof count);
  channels_->machine().doorbells().take(machine::dom0_doorbell(vcpu_));
  vcpu_info* info = channels_->info_of(kDom0, vcpu_);
  std::atomic_ref(info->evtchn_upcall_pending).exchange(0);
}

// Ends early for a high priority.
void Consumer::linger() const {
  const MonotonicClock clock;
  const uint64_t end = clock.now_ns() + linger_ns_;
  while (clock.now_ns() < end && !side_->has_urgent()) {
    // Pausing leaves the core to its other hyperthread, which may be the sender; looking at the clock does not.
    for (int i = 0; i < 8; ++i) __builtin_ia32_pause();
  }
}

uint32_t Consumer::drain(const Handler& handler, uint32_t budget) {
  bool more = false;
  uint32_t served = side_->drain(handler, budget, more);
  // Until it acknowledges, no sender makes a system call. So a busy consumer gives its senders a moment before it does,
  // as long as that brings something.
  if (linger_ns_ == 0 && served >= kBusyBatch) linger_ns_ = kShortestLingerNs;
  while (!more && served < budget && linger_ns_ != 0) {
    linger();
    const uint32_t brought = side_->drain(handler, budget - served, more);
    served += brought;
    if (brought < kBusyBatch && !more) linger_ns_ = std::min(2 * linger_ns_, kLongestLingerNs);
    if (brought == 0) linger_ns_ = 0;
  }
  if (!more) {
    acknowledge();
    served += side_->drain(handler, budget - served, more);
  }
  if (more) channels_->machine().doorbells().ring(machine::dom0_doorbell(vcpu_), 0);
  events_served_ += served;
  return served;
}

XenResult<Port> Consumer::use(XenResult<Port> bound) {
  const Port port = TRY(std::move(bound));
  if (const XenStatus added = side_->add(port); !added) {
    [[maybe_unused]] const XenStatus closed = channels_->close(kDom0, port);
    return xen_fail(added.error());
  }
  TRY_VOID(unmask(port));
  return port;
}

XenResult<Port> Consumer::bind_interdomain(DomId remote_domid, Port remote_port) {
  return use(connect(channels_->machine(), kDom0, vcpu_, remote_domid, remote_port));
}

XenResult<Port> Consumer::bind_or_take_over(DomId remote_domid, Port remote_port,
                                            const std::function<bool(Port)>& in_use) {
  const PortStatus status = TRY(channels_->status(kDom0, remote_domid, remote_port));
  const Port bound = status.remote_port;
  if (status.status != EVTCHNSTAT_interdomain || status.remote_domid != kDom0 || in_use(bound) ||
      TRY(channels_->status(kDom0, kDom0, bound)).vcpu != vcpu_) {
    return bind_interdomain(remote_domid, remote_port);
  }
  TRY_VOID(take_over(bound));
  // The predecessor may have died between binding and unmasking, or between masking and closing.
  TRY_VOID(unmask(bound));
  return bound;
}

XenResult<Port> Consumer::bind_virq(uint32_t virq) {
  return use(channels_->bind_virq(kDom0, virq, vcpu_));
}

XenStatus Consumer::close(Port port) {
  side_->mask(port);  // and so it stays for its next user
  return channels_->close(kDom0, port);
}

XenStatus Consumer::take_over(Port port) {
  TRY_VOID(side_->add(port));
  const bool was_masked = side_->is_masked(port);
  // Masked, it becomes pending on neither vCPU while it moves; unmasking looks whether it has become so.
  side_->mask(port);
  const XenStatus moved = channels_->bind_vcpu(kDom0, port, vcpu_);
  if (!was_masked) TRY_VOID(unmask(port));
  return moved;
}

void Consumer::mask(Port port) {
  side_->mask(port);
}

XenStatus Consumer::unmask(Port port) {
  if (side_->unmask(port)) return channels_->unmask(kDom0, port);
  return {};
}

}  // namespace xenopolis::event
