#include "runtime/two_level.h"

#include "runtime/atomic.h"

namespace xenopolis::guest::two_level {
namespace {

constexpr unsigned kWordBits = 64;
constexpr unsigned kWords = EVTCHN_2L_NR_CHANNELS / kWordBits;

uint64_t selected;  // words that were announced and not yet looked through

volatile xen_ulong_t& pending_word(Port port) {
  return domain::shared_info().evtchn_pending[port / kWordBits % kWords];
}
volatile xen_ulong_t& mask_word(Port port) {
  return domain::shared_info().evtchn_mask[port / kWordBits % kWords];
}
xen_ulong_t bit(Port port) {
  return xen_ulong_t{1} << port % kWordBits;
}

}  // namespace

void start() {
  for (unsigned i = 0; i < kWords; ++i) store(domain::shared_info().evtchn_mask[i], xen_ulong_t{0});
  // Events that came while they were masked did not set the selector.
  selected = ~uint64_t{0};
}

// The hypervisor sets the pending bit, then the selector, then the upcall flag: take them in the reverse order.
Port take() {
  for (;;) {
    if (selected == 0) {
      vcpu_info_t& vcpu = domain::vcpu();
      vcpu.evtchn_upcall_pending = 0;
      full_barrier();
      selected = exchange(vcpu.evtchn_pending_sel, xen_ulong_t{0});
      if (selected == 0) return 0;
    }
    Port first = static_cast<Port>(__builtin_ctzll(selected)) * kWordBits;
    uint64_t bits = load(pending_word(first)) & ~load(mask_word(first));
    if (bits == 0) {
      selected &= selected - 1;
      continue;
    }
    Port port = first + static_cast<Port>(__builtin_ctzll(bits));
    clear(port);
    return port;
  }
}

void clear(Port port) {
  fetch_and(pending_word(port), ~bit(port));
}

bool pending(Port port) {
  return (load(pending_word(port)) & bit(port)) != 0;
}

void mask(Port port) {
  fetch_or(mask_word(port), bit(port));
}

bool unmask(Port port) {
  fetch_and(mask_word(port), ~bit(port));
  return pending(port);
}

}  // namespace xenopolis::guest::two_level
