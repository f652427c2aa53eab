#include "event/port_table.h"

#include <algorithm>

#include "base/fault_point.h"
#include "event/event_abi.h"

namespace xenopolis::event {
namespace {

// How many closed ports allocate_port() looks at that the guest has not yet taken off its queues. A guest that never
// does runs out of ports earlier: its own loss.
constexpr unsigned kReuseTries = 64;

Port pop_free(DomainChannels& domain) {
  const Port port = domain.free_head;
  if (port == 0) return 0;
  domain.free_head = find_slot(domain, port)->load().next_free();
  if (domain.free_head == 0) domain.free_tail = 0;
  return port;
}

void push_free(DomainChannels& domain, Port port) {
  PortSlot& slot = *find_slot(domain, port);
  slot.store(slot.load().freed(0));
  if (domain.free_tail == 0) {
    domain.free_head = port;
  } else {
    PortSlot& tail = *find_slot(domain, domain.free_tail);
    tail.store(tail.load().freed(port));
  }
  domain.free_tail = port;
}

// The memory for `port`'s slot.
bool add_slot(DomainChannels& domain, Port port, machine::Frames& frames) {
  if (port < kInlinePorts) return true;
  PortRoot* root = domain.root.load(std::memory_order_relaxed);
  if (root == nullptr) {
    root = static_cast<PortRoot*>(frames.allocate_page());
    if (root == nullptr) return false;
    domain.root.store(root, std::memory_order_release);
  }
  auto& bucket = root->buckets[port / kPortsPerBucket];
  if (bucket.load(std::memory_order_relaxed) != nullptr) return true;
  auto* page = static_cast<PortBucket*>(frames.allocate_page());
  if (page == nullptr) return false;
  bucket.store(page, std::memory_order_release);
  return true;
}

}  // namespace

uint32_t port_limit_of(const DomainChannels& domain) {
  const uint32_t limit = abi_of(domain.abi.load(std::memory_order_acquire)).port_limit();
  return domain.port_limit == 0 ? limit : std::min(limit, domain.port_limit);
}

XenResult<Port> allocate_port(DomainChannels& domain, machine::Frames& frames) {
  const EventAbi& abi = abi_of(domain.abi.load(std::memory_order_relaxed));
  for (unsigned tries = 0; tries < kReuseTries; ++tries) {
    const Port port = pop_free(domain);
    if (port == 0) break;
    fault_point("allocate: taken off the free queue");
    if (!abi.is_busy(domain, port)) return port;
    push_free(domain, port);
  }
  const Port port = domain.used_ports.load(std::memory_order_relaxed);
  if (port >= port_limit_of(domain)) return xen_fail(XenErrno::kNoSpc);
  if (!add_slot(domain, port, frames)) return xen_fail(XenErrno::kNoMem);
  domain.used_ports.store(port + 1, std::memory_order_release);
  fault_point("allocate: added");
  return port;
}

void release_port(DomainChannels& domain, Port port) {
  push_free(domain, port);
}

void rebuild_free_ports(DomainChannels& domain) {
  domain.free_head = 0;
  domain.free_tail = 0;
  uint32_t open = 0;
  const uint32_t used = domain.used_ports.load(std::memory_order_relaxed);
  for (Port port = 1; port < used; ++port) {
    if (find_slot(domain, port)->load().state() == PortState::kFree) {
      push_free(domain, port);
    } else {
      ++open;
    }
  }
  domain.open_ports.store(open, std::memory_order_relaxed);
}

void release_buckets(DomainChannels& domain, machine::Frames& frames) {
  domain.used_ports.store(1, std::memory_order_release);
  domain.free_head = 0;
  domain.free_tail = 0;
  for (PortSlot& slot : domain.inline_slots) slot.store(PortWord{});
  PortRoot* root = domain.root.load();
  if (root == nullptr) return;
  // One by one, and the root last: whoever finishes what was cut short finds all but the page that was in hand.
  for (auto& bucket : root->buckets) {
    PortBucket* page = bucket.exchange(nullptr);
    if (page == nullptr) continue;
    frames.free_page(page);
    fault_point("destroy: bucket");
  }
  domain.root.store(nullptr);
  frames.free_page(root);
}

}  // namespace xenopolis::event
