#include "runtime/traps.h"

#include "runtime/hypercall.h"

namespace xenopolis::guest::traps {
namespace {

Handler trap_handler;

// trap_info.flags, bits 0-1: the privilege that may raise the vector by a software interrupt. Everything of a 64-bit PV
// guest runs at 3.
constexpr uint8_t kAnyPrivilege = 3;

trap_info_t entry(uint8_t vector, const char* code) {
  return {.vector = vector, .flags = kAnyPrivilege, .cs = FLAT_KERNEL_CS, .address = reinterpret_cast<uintptr_t>(code)};
}

}  // namespace

extern "C" {
[[gnu::visibility("hidden")]] extern char trap_0[], trap_1[], trap_2[], trap_3[], trap_6[], trap_13[], trap_14[];

[[gnu::used]] void trap_dispatch(TrapFrame& frame) {
  trap_handler(frame);
}
}

long start(Handler handler) {
  trap_handler = handler;
  const trap_info_t table[] = {entry(0, trap_0),
                               entry(1, trap_1),
                               entry(3, trap_3),
                               entry(6, trap_6),
                               entry(13, trap_13),
                               entry(14, trap_14),
                               {.vector = 0, .flags = 0, .cs = 0, .address = 0}};
  return hypercall<__HYPERVISOR_set_trap_table>(table);
}

long start_nmi(Handler handler) {
  trap_handler = handler;
  callback_register_t call{.type = CALLBACKTYPE_nmi, .flags = 0, .address = reinterpret_cast<uintptr_t>(trap_2)};
  return hypercall<__HYPERVISOR_callback_op>(CALLBACKOP_register, &call);
}

long stop_nmi() {
  callback_unregister_t call{.type = CALLBACKTYPE_nmi, ._unused = 0};
  return hypercall<__HYPERVISOR_callback_op>(CALLBACKOP_unregister, &call);
}

}  // namespace xenopolis::guest::traps
