#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {

// vm_assist(command, type): ways in which the hypervisor changes its behaviour for a guest.
int64_t vm_assist(Context& context, const Arguments& arguments) {
  if (arguments[0] != VMASST_CMD_enable && arguments[0] != VMASST_CMD_disable) return refuse(XenErrno::kNoSys);
  switch (arguments[1]) {
    // Writes to read-only page tables work with and without asking for it, where there are page tables.
    case VMASST_TYPE_writable_pagetables:
      return context.mmu != nullptr ? 0 : refuse(XenErrno::kNoSys);
    // A runstate is never seen half-written (see publish_runstate), which is what the flag is to tell.
    case VMASST_TYPE_runstate_update_flag:
      return 0;
    case VMASST_TYPE_4gb_segments:
    case VMASST_TYPE_4gb_segments_notify:
    case VMASST_TYPE_pae_extended_cr3:
    case VMASST_TYPE_architectural_iopl:
    case VMASST_TYPE_m2p_strict:
      return refuse(XenErrno::kNoSys);
    default:
      return refuse(XenErrno::kInval);
  }
}

}  // namespace xenopolis::hypercall::handlers
