#include "vcpu/hosted/hypercall_page.h"

#include <cstring>

#include "base/check.h"
#include "xen_abi/xen.h"

namespace xenopolis::vcpu::hosted {
namespace {

constexpr size_t kEntrySize = 32;

class Code {
 public:
  explicit Code(uint8_t* at) : at_(at) {}
  template <class... Bytes>
  Code& bytes(Bytes... values) {
    ((*at_++ = static_cast<uint8_t>(values)), ...);
    return *this;
  }
  template <class T>
  Code& immediate(T value) {
    std::memcpy(at_, &value, sizeof value);
    at_ += sizeof value;
    return *this;
  }
  const uint8_t* end() const { return at_; }

 private:
  uint8_t* at_;
};

}  // namespace

void fill_hypercall_page(uint8_t* page, uint64_t target) {
  std::memset(page, 0xcc, kPageSize);  // INT3 in the gaps
  for (uint32_t number = 0; number < kPageSize / kEntrySize; ++number) {
    Code code(page + number * kEntrySize);
    if (number == __HYPERVISOR_iret) code.bytes(0x51, 0x41, 0x53, 0x50);  // push rcx; push r11; push rax
    code.bytes(0xb8).immediate(number);                                   // mov eax, number
    code.bytes(0x49, 0xbb).immediate(target);                             // movabs r11, target
    code.bytes(0x48, 0x8d, 0x0d).immediate<uint32_t>(3);                  // lea rcx, [rip + 3]
    code.bytes(0x41, 0xff, 0xe3);                                         // jmp r11
    code.bytes(0xc3);                                                     // ret
    CHECK(code.end() <= page + (number + 1) * kEntrySize);
  }
}

}  // namespace xenopolis::vcpu::hosted
