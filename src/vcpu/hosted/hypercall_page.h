// The hypercall page of hosted guests.
#pragma once

#include <cstdint>

namespace xenopolis::vcpu::hosted {

// Fills the page: entry n (32 bytes at n * 32, <xen/arch-x86/xen-x86_64.h>) loads n into RAX, the address of its own
// RET into RCX, and jumps to `target` through R11. RCX and R11 are lost, as with SYSCALL; entry __HYPERVISOR_iret saves
// them and RAX to the stack first, where struct iret_context has them.
void fill_hypercall_page(uint8_t* page, uint64_t target);

}  // namespace xenopolis::vcpu::hosted
