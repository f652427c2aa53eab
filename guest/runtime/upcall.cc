#include "runtime/upcall.h"

#include "runtime/atomic.h"

static_assert(offsetof(vcpu_info_t, evtchn_upcall_pending) == 0 && offsetof(vcpu_info_t, evtchn_upcall_mask) == 1,
              "upcall.S");

namespace xenopolis::guest::upcall {
namespace {

Handler event_handler;
volatile uint64_t dispatched;

}  // namespace

extern "C" {
[[gnu::visibility("hidden")]] extern char upcall_entry[];
[[gnu::visibility("hidden")]] extern uint64_t upcall_windows;

[[gnu::used]] void upcall_dispatch() {
  dispatched = dispatched + 1;
  for (Port port = events::take(); port != 0; port = events::take()) event_handler(port);
}
}

long start(Handler handler) {
  if (!domain_self.vcpu_info_moved) return -XEN_ENOSYS;
  event_handler = handler;
  callback_register_t call{};
  call.type = CALLBACKTYPE_event;
  call.address = reinterpret_cast<xen_callback_t>(upcall_entry);
  return hypercall<__HYPERVISOR_callback_op>(CALLBACKOP_register, &call);
}

void enable() {
  store(this_vcpu.evtchn_upcall_mask, uint8_t{0});
  full_barrier();
  // What became pending while upcalls were masked is delivered at the end of the next hypercall, whichever it is.
  if (load(this_vcpu.evtchn_upcall_pending) != 0) xen_version(XENVER_version, nullptr);
}

void disable() {
  store(this_vcpu.evtchn_upcall_mask, uint8_t{1});
  full_barrier();
}

void block() {
  sched_op(SCHEDOP_block, nullptr);
}

uint64_t count() {
  return dispatched;
}

uint64_t hits_in_window() {
  return load(upcall_windows);
}

}  // namespace xenopolis::guest::upcall
