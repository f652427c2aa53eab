#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {

// update_va_mapping(va, entry, flags). There is one vCPU, so which TLBs `flags` name does not matter.
int64_t update_va_mapping(Context& context, const Arguments& arguments) {
  if (context.mmu == nullptr) return refuse(XenErrno::kNoSys);
  const int64_t answer = to_hypercall_result(context.mmu->update_va_mapping(arguments[0], arguments[1]));
  if (answer == 0 && (arguments[2] & UVMF_FLUSHTYPE_MASK) != UVMF_NONE) context.mmu->flush_tlb();
  return answer;
}

// update_va_mapping_otherdomain(va, entry, flags, domid): other domains' frames are for the control domain.
int64_t update_va_mapping_otherdomain(Context& context, const Arguments& arguments) {
  if (context.mmu == nullptr) return refuse(XenErrno::kNoSys);
  if (!names_itself(context, static_cast<uint16_t>(arguments[3]))) return refuse(XenErrno::kPerm);
  return update_va_mapping(context, arguments);
}

}  // namespace xenopolis::hypercall::handlers
