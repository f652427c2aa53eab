// Hypercalls: one entry, dispatch(), and one file per hypercall behind it that decodes, checks, calls and copies out.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>
#include <type_traits>

#include "base/clock.h"
#include "domain/domain_record.h"
#include "domain/pv_vcpu.h"
#include "event/event_channels.h"
#include "grant/grant_table.h"
#include "machine/machine.h"
#include "xen_abi/xen.h"

namespace xenopolis::hypercall {

// The guest's memory at its virtual addresses, as its kernel page tables have them at the time of the call. Copies are
// all or nothing as far as the return value goes; false: some byte is not mapped (or not writable), the hypercall
// answers -EFAULT. Two implementations: page-table walk (kvm), flat (hosted).
class GuestMemory {
 public:
  virtual ~GuestMemory() = default;
  virtual bool copy_in(uint64_t guest_address, void* to, size_t size) = 0;
  virtual bool copy_out(uint64_t guest_address, const void* from, size_t size) = 0;

  template <class T>
  bool read(uint64_t guest_address, T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return copy_in(guest_address, &value, sizeof value);
  }
  template <class T>
  bool write(uint64_t guest_address, const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return copy_out(guest_address, &value, sizeof value);
  }
};

// The guest's page tables. One implementation (kvm); hosted domains have none: mmu is nullptr there and the hypercalls
// answer -ENOSYS. Table and entry addresses are guest-physical. Tables need no validation: the VM's boundary
// isolates; but an entry must lie in the domain's RAM.
class Mmu {
 public:
  virtual ~Mmu() = default;
  // Writes one page-table entry at guest-physical `entry_address` (8-aligned).
  virtual XenStatus write_entry(uint64_t entry_address, uint64_t value, bool preserve_accessed_dirty) = 0;
  // Writes the L1 entry that maps virtual address `va` in the current tables. kInval: no L1 table there.
  virtual XenStatus update_va_mapping(uint64_t va, uint64_t value) = 0;
  virtual XenStatus set_m2p(Gfn mfn, uint64_t pfn) = 0;
  // A table becomes a page table of `level` 1..4 / stops to be one.
  virtual XenStatus pin(Gfn table, int level) = 0;
  virtual XenStatus unpin(Gfn table) = 0;
  virtual XenStatus new_kernel_base(Gfn table) = 0;
  virtual XenStatus new_user_base(Gfn table) = 0;  // 0: user mode has no page tables
  virtual void flush_tlb() = 0;
  // A frame with descriptors for set_gdt: up to 14 frames (FIRST_RESERVED_GDT_PAGE).
  virtual XenStatus set_gdt(const Gfn* frames, uint32_t count) = 0;
};

// Everything a hypercall of one vCPU can reach.
struct Context {
  machine::Machine& machine;
  event::EventChannels& events;
  grant::GrantTables& grants;
  domain::DomainRecord& record;
  domain::PvVcpu& vcpu;
  GuestMemory& memory;
  Mmu* mmu;  // nullptr: flat domain
  const Clock& clock;
  // CONSOLEIO_write: the emergency console, for the hypervisor's log.
  std::function<void(std::string_view)> emergency_console;

  // --- dispatch()'s own
  uint32_t work_left = 0;
  bool in_multicall = false;
};

// What one hypercall may do, with all entries of a multicall together: an entry of any list counts one, costly ones
// more. A call that asks for more is refused with -E2BIG before it does anything, so that no guest keeps its cell from
// the other domains. Real kernels stay far below: the largest batch known is NetBSD's of 2,048 page-table updates.
inline constexpr uint32_t kWorkLimit = 8192;
// Entries of one multicall. Linux batches 32.
inline constexpr uint32_t kMulticallLimit = 512;

using Arguments = std::array<uint64_t, 6>;  // rdi, rsi, rdx, r10, r8, r9

// Executes hypercall `number` (<xen/xen.h> __HYPERVISOR_*). Returns what RAX gets: 0 or positive, or -errno; -ENOSYS
// for whatever is not there. iret and others change context.vcpu.registers themselves: the caller stores the result in
// RAX only if dispatch_sets_rax(number). Never blocks; context.vcpu.after says what is to be done next.
int64_t dispatch(Context& context, uint64_t number, const Arguments& arguments);
inline bool dispatch_sets_rax(uint64_t number) {
  return number != __HYPERVISOR_iret;
}

// "event_channel_op", for logs and traces; "unknown" for numbers without a name.
std::string_view name_of(uint64_t number);

// The emulated CPUID of PV guests for the Xen leaves (0x40000000..): signature, version, see <xen/arch-x86/cpuid.h>.
inline constexpr uint32_t kXenMajor = 4, kXenMinor = 17;

}  // namespace xenopolis::hypercall
