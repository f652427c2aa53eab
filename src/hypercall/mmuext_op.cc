#include "hypercall/handlers.h"
#include "machine/domain_memory.h"

namespace xenopolis::hypercall::handlers {
namespace {

// Pinning walks the tables below: costlier than an entry of a list by far.
constexpr uint32_t kPinWork = 16;

uint32_t work_of(unsigned command) {
  switch (command) {
    case MMUEXT_PIN_L1_TABLE:
    case MMUEXT_PIN_L2_TABLE:
    case MMUEXT_PIN_L3_TABLE:
    case MMUEXT_PIN_L4_TABLE:
    case MMUEXT_UNPIN_TABLE:
    case MMUEXT_NEW_BASEPTR:
    case MMUEXT_NEW_USER_BASEPTR:
      return kPinWork;
    default:
      return 1;
  }
}

// Frames that the guest names must be RAM of its own.
XenStatus apply(Context& context, const mmuext_op_t& operation) {
  Mmu& mmu = *context.mmu;
  const Gfn gfn = operation.arg1.mfn;
  uint8_t* const page = machine::memory_of(context.record.domid).ram_page(gfn);
  switch (operation.cmd) {
    case MMUEXT_PIN_L1_TABLE:
    case MMUEXT_PIN_L2_TABLE:
    case MMUEXT_PIN_L3_TABLE:
    case MMUEXT_PIN_L4_TABLE:
      if (page == nullptr) return xen_fail(XenErrno::kInval);
      return mmu.pin(gfn, static_cast<int>(operation.cmd - MMUEXT_PIN_L1_TABLE) + 1);
    case MMUEXT_UNPIN_TABLE:
      if (page == nullptr) return xen_fail(XenErrno::kInval);
      return mmu.unpin(gfn);
    case MMUEXT_NEW_BASEPTR:
      if (page == nullptr) return xen_fail(XenErrno::kInval);
      return mmu.new_kernel_base(gfn);
    case MMUEXT_NEW_USER_BASEPTR:
      if (page == nullptr) return xen_fail(XenErrno::kInval);
      return mmu.new_user_base(gfn);
    // One vCPU a domain: all of its TLBs are the local one.
    case MMUEXT_TLB_FLUSH_LOCAL:
    case MMUEXT_INVLPG_LOCAL:
    case MMUEXT_TLB_FLUSH_MULTI:
    case MMUEXT_INVLPG_MULTI:
    case MMUEXT_TLB_FLUSH_ALL:
    case MMUEXT_INVLPG_ALL:
      mmu.flush_tlb();
      return {};
    case MMUEXT_SET_LDT:
      if (operation.arg2.nr_ents != 0) return xen_fail(XenErrno::kNoSys);
      return {};
    case MMUEXT_CLEAR_PAGE:
      if (page == nullptr) return xen_fail(XenErrno::kInval);
      std::memset(page, 0, kPageSize);
      return {};
    case MMUEXT_COPY_PAGE: {
      const uint8_t* source = machine::memory_of(context.record.domid).ram_page(operation.arg2.src_mfn);
      if (page == nullptr || source == nullptr) return xen_fail(XenErrno::kInval);
      std::memmove(page, source, kPageSize);
      return {};
    }
    // FLUSH_CACHE*: for domains with devices; MARK_SUPER and UNMARK_SUPER: gone from Xen too.
    default:
      return xen_fail(XenErrno::kNoSys);
  }
}

}  // namespace

// mmuext_op(operations, count, done, foreigndom)
int64_t mmuext_op(Context& context, const Arguments& arguments) {
  if (context.mmu == nullptr) return refuse(XenErrno::kNoSys);
  const auto count = static_cast<uint32_t>(arguments[1]);
  if (!names_itself(context, static_cast<uint16_t>(arguments[3]))) return refuse(XenErrno::kPerm);
  if (!take_work(context, count)) return kTooBig;
  int64_t answer = 0;
  uint32_t done = 0;
  for (; done < count; ++done) {
    mmuext_op_t operation;
    if (!context.memory.read(arguments[0] + done * sizeof operation, operation)) {
      answer = refuse(XenErrno::kFault);
    } else if (!take_work(context, work_of(operation.cmd) - 1)) {
      answer = kTooBig;
    } else {
      answer = to_hypercall_result(apply(context, operation));
    }
    if (answer != 0) break;
  }
  if (arguments[2] != 0 && !context.memory.write(arguments[2], done)) return refuse(XenErrno::kFault);
  return answer;
}

}  // namespace xenopolis::hypercall::handlers
