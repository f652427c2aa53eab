#include "event/bitmap_abi.h"

#include "base/fault_point.h"

namespace xenopolis::event {

Raised BitmapAbi::set_pending(const Delivery& delivery) const {
  auto& [domain, vcpu_id, port, slot] = delivery;
  const xen_ulong_t bit = bit_of(port);
  Raised raised;
  raised.newly_pending = (pending_word(domain, port).fetch_or(bit) & bit) == 0;
  fault_point("bitmap: pending");
  // A guest that unmasks after this look finds the pending bit itself.
  if ((mask_word(domain, port).load() & bit) == 0) raised.upcall = select(domain.vcpus[vcpu_id], port);
  return raised;
}

void BitmapAbi::clear_pending(DomainChannels& domain, Port port) const {
  pending_word(domain, port).fetch_and(~bit_of(port));
}

void BitmapAbi::clear_mask(DomainChannels& domain, Port port) const {
  mask_word(domain, port).fetch_and(~bit_of(port));
}

bool BitmapAbi::is_pending(const DomainChannels& domain, Port port) const {
  return (pending_word(domain, port).load() & bit_of(port)) != 0;
}

bool BitmapAbi::is_masked(const DomainChannels& domain, Port port) const {
  return (mask_word(domain, port).load() & bit_of(port)) != 0;
}

}  // namespace xenopolis::event
