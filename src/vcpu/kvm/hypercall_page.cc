#include "vcpu/kvm/hypercall_page.h"

#include <cstring>

#include "xen_abi/pv_layout.h"

namespace xenopolis::vcpu::kvm {
namespace {
constexpr unsigned kEntries = 64;  // hypercall numbers end at __HYPERVISOR_arch_7, 55
static_assert(__HYPERVISOR_arch_7 < kEntries && kEntries * kHypercallEntrySize <= kPageSize);
}  // namespace

void write_hypercall_page(uint8_t* page) {
  constexpr uint8_t kTrap = 0xcc;
  memset(page, kTrap, kPageSize);
  for (unsigned number = 0; number < kEntries; ++number) {
    uint8_t* next = page + number * kHypercallEntrySize;
    if (number == __HYPERVISOR_iret) {
      // push %rcx; push %r11; push %rax: the rest of struct iret_context is on the stack already
      constexpr uint8_t kPushes[] = {0x51, 0x41, 0x53, 0x50};
      for (uint8_t byte : kPushes) *next++ = byte;
    }
    *next++ = 0xb8;  // mov $number,%eax
    memcpy(next, &number, sizeof number);
    next += sizeof number;
    *next++ = 0xe6;  // out %al,$port
    *next++ = pv_layout::kHypercallPort;
    *next++ = 0xc3;  // ret
  }
}

}  // namespace xenopolis::vcpu::kvm
