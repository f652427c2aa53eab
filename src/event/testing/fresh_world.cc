#include "event/testing/fresh_world.h"

#include <unistd.h>

#include <cstring>

namespace xenopolis::event::model {
namespace {

template <class T>
void forget(T& shared) {
  std::memset(static_cast<void*>(&shared), 0, sizeof shared);
}

}  // namespace

World& fresh_world(DomId last) {
  static World world;
  machine::Header& header = machine::header();
  static const auto unused = [&] {
    std::array<uint8_t, sizeof(machine::Header)> bytes;
    std::memcpy(bytes.data(), &header, bytes.size());
    return bytes;
  }();
  // Guests' memory is cleaned by who gives it to them; pages of the hypervisor's that were never used are zero.
  const uint64_t end = header.pages.bump;
  std::memcpy(static_cast<void*>(&header), unused.data(), unused.size());
  std::memset(reinterpret_cast<void*>(header.pages.bump), 0, end - header.pages.bump);
  for (DomId domid = 0; domid <= last; ++domid) {
    forget(channels_of(domid));
    forget(machine::memory_of(domid));
    forget(machine::doorbell(domid));
  }
  for (VcpuId vcpu = 0; vcpu < machine::kDom0VcpuCount; ++vcpu) {
    forget(machine::doorbell(machine::dom0_doorbell(vcpu)));
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t emptied = read(world.machine.dom0_eventfd(vcpu), &count, sizeof count);
  }
  return world;
}

}  // namespace xenopolis::event::model
