// The hypercall page (<xen/arch-x86/xen.h>, "Hypercall interface"): entry i at 32 * i.
#pragma once

#include <cstdint>

namespace xenopolis::vcpu::kvm {

inline constexpr unsigned kHypercallEntrySize = 32;

// `page`: 4096 bytes. Each entry is `mov $i,%eax; out %al,$kHypercallPort; ret`; iret first saves RCX, R11 and RAX.
void write_hypercall_page(uint8_t* page);

}  // namespace xenopolis::vcpu::kvm
