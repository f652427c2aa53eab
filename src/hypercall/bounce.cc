#include "hypercall/bounce.h"

#include "hypercall/handlers.h"
#include "xen_abi/pv_layout.h"

namespace xenopolis::hypercall {
namespace {

using domain::PvVcpu;
using domain::Registers;

// RFLAGS (Intel SDM volume 1, 3.4.3).
constexpr uint64_t kFlagAlwaysOne = 1 << 1;
constexpr uint64_t kFlagTrap = 1 << 8;
constexpr uint64_t kFlagInterrupt = 1 << 9;
constexpr uint64_t kFlagDirection = 1 << 10;
constexpr uint64_t kFlagIopl = 3 << 12;
constexpr uint64_t kFlagNestedTask = 1 << 14;
constexpr uint64_t kFlagResume = 1 << 16;
constexpr uint64_t kFlagVirtual8086 = 1 << 17;
constexpr uint64_t kFlagAlignment = 1 << 18;
// What a guest may load: arithmetic flags, TF, DF, NT, RF, AC, ID. IF stays set, IOPL 0, no virtual interrupts.
constexpr uint64_t kGuestFlags = 0x254dd5;
static_assert((kGuestFlags & (kFlagInterrupt | kFlagIopl | kFlagVirtual8086)) == 0);
static_assert((kGuestFlags & (kFlagNestedTask | kFlagResume | kFlagAlignment | kFlagDirection | kFlagTrap)) ==
              (kFlagNestedTask | kFlagResume | kFlagAlignment | kFlagDirection | kFlagTrap));

constexpr uint16_t kRpl = 3;
constexpr uint8_t kPageFault = 14;
constexpr uint32_t kPageFaultUser = 1 << 2;

struct Entry {
  uint64_t handler;
  bool masks_events;
  std::optional<uint32_t> error_code;
};

bool enter_kernel(PvVcpu& vcpu, vcpu_info& info, GuestMemory& memory, const Entry& entry) {
  if (entry.handler == 0) return false;
  Registers& registers = vcpu.registers;
  const bool was_kernel = vcpu.kernel_mode;
  const bool was_masked = upcalls_masked(info);
  const uint64_t frame_end = (was_kernel ? registers.rsp : vcpu.kernel_rsp) & ~0xfull;
  const auto cs = static_cast<uint16_t>(was_kernel ? registers.cs & ~kRpl : registers.cs | kRpl);
  const uint64_t flags = (registers.rflags & ~kFlagInterrupt) | (was_masked ? 0 : kFlagInterrupt);

  uint64_t frame[8];
  unsigned words = 0;
  frame[words++] = registers.rcx;
  frame[words++] = registers.r11;
  if (entry.error_code) frame[words++] = *entry.error_code;
  frame[words++] = registers.rip;
  frame[words++] = cs | uint64_t{was_masked} << 32;
  frame[words++] = flags;
  frame[words++] = registers.rsp;
  frame[words++] = registers.ss;
  const uint64_t frame_start = frame_end - words * sizeof frame[0];
  // The kernel's stack must not lie where the hypervisor's own structures are mapped.
  if (pv_layout::is_reserved(frame_start) || pv_layout::is_reserved(frame_end - 1)) return false;
  if (!memory.copy_out(frame_start, frame, words * sizeof frame[0])) return false;

  set_kernel_mode(vcpu, true);
  if (entry.masks_events) set_upcalls_masked(info, true);
  registers.rsp = frame_start;
  registers.rip = entry.handler;
  registers.cs = domain::kKernelCs;
  registers.ss = domain::kKernelSs;
  registers.rflags &= ~(kFlagAlignment | kFlagVirtual8086 | kFlagResume | kFlagNestedTask | kFlagTrap | kFlagIopl);
  registers.rflags |= kFlagInterrupt | kFlagAlwaysOne;
  return true;
}

}  // namespace

void set_kernel_mode(PvVcpu& vcpu, bool kernel_mode) {
  if (vcpu.kernel_mode == kernel_mode) return;
  vcpu.kernel_mode = kernel_mode;
  std::swap(vcpu.registers.gs_base, vcpu.gs_base_inactive);
}

bool deliver_exception(PvVcpu& vcpu, vcpu_info& info, GuestMemory& memory, uint8_t vector,
                       std::optional<uint32_t> error_code, uint64_t fault_address) {
  const domain::TrapHandler* handler = vcpu.trap_handler(vector);
  if (handler == nullptr) return false;
  if (vector == kPageFault) {
    __atomic_store_n(&info.arch.cr2, fault_address, __ATOMIC_RELAXED);
    const uint32_t code = error_code.value_or(0);
    error_code = vcpu.kernel_mode ? code & ~kPageFaultUser : code | kPageFaultUser;
  }
  return enter_kernel(vcpu, info, memory, {handler->address, handler->masks_events(), error_code});
}

bool deliver_event_upcall(PvVcpu& vcpu, vcpu_info& info, GuestMemory& memory) {
  return enter_kernel(vcpu, info, memory, {vcpu.callbacks.event, true, std::nullopt});
}

bool deliver_nmi(PvVcpu& vcpu, vcpu_info& info, GuestMemory& memory) {
  if (!deliver_exception(vcpu, info, memory, kNmiVector, std::nullopt)) return false;
  vcpu.nmi_pending = false;
  vcpu.in_nmi = true;
  return true;
}

bool deliver_syscall(PvVcpu& vcpu, vcpu_info& info, GuestMemory& memory) {
  const Entry entry{vcpu.callbacks.syscall, vcpu.callbacks.syscall_masks_events, std::nullopt};
  if (!enter_kernel(vcpu, info, memory, entry)) return false;
  vcpu.registers.rflags &= ~kFlagDirection;
  return true;
}

bool return_from_frame(PvVcpu& vcpu, vcpu_info& info, GuestMemory& memory) {
  Registers& registers = vcpu.registers;
  iret_context frame;
  if (!memory.read(registers.rsp, frame) || !is_canonical(frame.rip)) return false;
  const bool to_user = (frame.cs & kRpl) == kRpl;
  if (to_user && vcpu.user_cr3 == 0) return false;

  if (to_user) set_kernel_mode(vcpu, false);
  registers.rip = frame.rip;
  registers.cs = static_cast<uint16_t>(frame.cs | kRpl);
  registers.rflags = (frame.rflags & kGuestFlags) | kFlagInterrupt | kFlagAlwaysOne;
  registers.rsp = frame.rsp;
  registers.ss = static_cast<uint16_t>(frame.ss | kRpl);
  registers.rax = frame.rax;
  if ((frame.flags & VGCF_in_syscall) == 0) {
    registers.r11 = frame.r11;
    registers.rcx = frame.rcx;
  }
  vcpu.in_nmi = false;
  set_upcalls_masked(info, (frame.rflags & kFlagInterrupt) == 0);
  return true;
}

}  // namespace xenopolis::hypercall
