#include "event/consumer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "event/connection.h"
#include "event/dom0_side.h"
#include "event/setup.h"

namespace xenopolis::event {
namespace {

// Control blocks of different vCPUs do not share a cache line.
constexpr uint64_t kControlBlockStride = 128;
static_assert(sizeof(evtchn_fifo_control_block) <= kControlBlockStride);
static_assert(machine::kDom0VcpuCount * kControlBlockStride <= kPageSize);

}  // namespace

Status create_dom0(EventChannels& channels, Abi abi) {
  machine::Machine& machine = channels.machine();
  auto* shared = static_cast<shared_info*>(machine.frames().allocate_page());
  if (shared == nullptr) return fail(ENOMEM, "a page for Dom0's shared_info");
  std::fill(std::begin(shared->evtchn_mask), std::end(shared->evtchn_mask), ~xen_ulong_t{0});
  TRY_VOID(channels.create_domain(kDom0, {.max_abi = abi, .vcpus = machine::kDom0VcpuCount, .shared_info = shared}));
  if (abi == Abi::kTwoLevel) return {};
  auto* control = static_cast<uint8_t*>(machine.frames().allocate_page());
  if (control == nullptr) return fail(ENOMEM, "a page for Dom0's control blocks");
  for (VcpuId vcpu = 0; vcpu < machine::kDom0VcpuCount; ++vcpu) {
    auto* block = reinterpret_cast<evtchn_fifo_control_block*>(control + vcpu * kControlBlockStride);
    if (!install_control_block(machine, kDom0, vcpu, block)) return fail(EINVAL, "Dom0's control blocks");
  }
  if (!grow_dom0_array(machine, 0)) return fail(ENOMEM, "a page for Dom0's event array");
  return {};
}

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
  Consumer consumer(channels, vcpu,
                    channels.abi(kDom0) == Abi::kFifo ? make_dom0_fifo(machine, vcpu) : make_dom0_two_level(vcpu));
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

uint32_t Consumer::drain(const Handler& handler, uint32_t budget) {
  machine::Doorbells& bells = channels_->machine().doorbells();
  const machine::DoorbellId bell = machine::dom0_doorbell(vcpu_);
  // In this order. A sender sets READY (or the selector), then the upcall flag, then the mark, then writes the eventfd,
  // and leaves out what is set already. Whatever it left out is undone here only before the step that it relies on is
  // looked at: its event is found below.
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t cleared = read(fd(), &count, sizeof count);
  bells.take(bell);
  vcpu_info* info = channels_->info_of(kDom0, vcpu_);
  std::atomic_ref(info->evtchn_upcall_pending).exchange(0);
  bool more = false;
  const uint32_t served = side_->drain(handler, budget, more);
  events_served_ += served;
  if (more) bells.ring(bell, 0);
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

XenResult<Port> Consumer::bind_virq(uint32_t virq) {
  return use(channels_->bind_virq(kDom0, virq, vcpu_));
}

XenStatus Consumer::close(Port port) {
  side_->remove(port);
  return channels_->close(kDom0, port);
}

void Consumer::mask(Port port) {
  side_->mask(port);
}

XenStatus Consumer::unmask(Port port) {
  if (side_->unmask(port)) return channels_->unmask(kDom0, port);
  return {};
}

}  // namespace xenopolis::event
