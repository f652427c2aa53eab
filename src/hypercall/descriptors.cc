#include "hypercall/handlers.h"
#include "machine/domain_memory.h"

namespace xenopolis::hypercall::handlers {
namespace {

constexpr uint64_t kEntriesPerPage = kPageSize / 8;
constexpr uint64_t kMaxGdtPages = FIRST_RESERVED_GDT_PAGE;
static_assert(kMaxGdtPages == 14);

}  // namespace

// set_gdt(frames, entries)
int64_t set_gdt(Context& context, const Arguments& arguments) {
  if (context.mmu == nullptr) return refuse(XenErrno::kNoSys);
  const uint64_t entries = arguments[1];
  if (entries > FIRST_RESERVED_GDT_ENTRY) return refuse(XenErrno::kInval);
  const auto pages = static_cast<uint32_t>((entries + kEntriesPerPage - 1) / kEntriesPerPage);
  Gfn frames[kMaxGdtPages];
  if (!context.memory.copy_in(arguments[0], frames, pages * sizeof frames[0])) return refuse(XenErrno::kFault);
  const machine::DomainMemory& memory = machine::memory_of(context.record.domid);
  for (uint32_t i = 0; i < pages; ++i) {
    if (memory.ram_page(frames[i]) == nullptr) return refuse(XenErrno::kInval);
  }
  const int64_t answer = to_hypercall_result(context.mmu->set_gdt(frames, pages));
  if (answer == 0) context.vcpu.gdt_frames.assign(frames, frames + pages);
  return answer;
}

// update_descriptor(machine address, descriptor). Descriptors need no check: the VM's boundary isolates, not the GDT.
int64_t update_descriptor(Context& context, const Arguments& arguments) {
  if (context.mmu == nullptr) return refuse(XenErrno::kNoSys);
  const uint64_t address = arguments[0];
  if (address % 8 != 0) return refuse(XenErrno::kInval);
  uint8_t* page = machine::memory_of(context.record.domid).ram_page(address >> kPageShift);
  if (page == nullptr) return refuse(XenErrno::kInval);
  __atomic_store_n(reinterpret_cast<uint64_t*>(page + address % kPageSize), arguments[1], __ATOMIC_RELAXED);
  return 0;
}

}  // namespace xenopolis::hypercall::handlers
