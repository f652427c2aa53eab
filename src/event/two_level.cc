#include "event/two_level.h"

#include "event/fault_point.h"

namespace xenopolis::event {
namespace {

using Bitmap = xen_ulong_t[sizeof(xen_ulong_t) * 8];
constexpr uint32_t kBitsPerWord = sizeof(xen_ulong_t) * 8;

std::atomic_ref<xen_ulong_t> bitmap_word(Bitmap& bitmap, Port port) {
  return std::atomic_ref<xen_ulong_t>(bitmap[port / kBitsPerWord]);
}
constexpr xen_ulong_t bit_of(Port port) {
  return xen_ulong_t{1} << (port % kBitsPerWord);
}

}  // namespace

Raised TwoLevelAbi::set_pending(const Delivery& delivery) const {
  shared_info& shared = *delivery.domain.shared;
  const Port port = delivery.port;
  Raised raised;
  raised.newly_pending = (bitmap_word(shared.evtchn_pending, port).fetch_or(bit_of(port)) & bit_of(port)) == 0;
  fault_point("2-level: pending");
  // A guest that unmasks after this look finds the pending bit itself.
  if ((bitmap_word(shared.evtchn_mask, port).load() & bit_of(port)) != 0) return raised;
  vcpu_info& info = *delivery.domain.vcpus[delivery.vcpu].info.load(std::memory_order_relaxed);
  const xen_ulong_t selector = bit_of(port / kBitsPerWord);
  // A selector bit that is set already has had its upcall, or the guest is about to take it.
  raised.upcall = (std::atomic_ref(info.evtchn_pending_sel).fetch_or(selector) & selector) == 0;
  fault_point("2-level: selected");
  return raised;
}

void TwoLevelAbi::clear_pending(DomainChannels& domain, Port port) const {
  bitmap_word(domain.shared->evtchn_pending, port).fetch_and(~bit_of(port));
}

void TwoLevelAbi::clear_mask(DomainChannels& domain, Port port) const {
  bitmap_word(domain.shared->evtchn_mask, port).fetch_and(~bit_of(port));
}

bool TwoLevelAbi::is_pending(const DomainChannels& domain, Port port) const {
  return (bitmap_word(domain.shared->evtchn_pending, port).load() & bit_of(port)) != 0;
}

bool TwoLevelAbi::is_masked(const DomainChannels& domain, Port port) const {
  return (bitmap_word(domain.shared->evtchn_mask, port).load() & bit_of(port)) != 0;
}

}  // namespace xenopolis::event
