#include "hypercall/bounce.h"
#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {

// iret(): the frame is on the stack, the answer is wherever it leads.
int64_t iret(Context& context, const Arguments&) {
  if (!return_from_frame(context.vcpu, info_of(context), context.memory)) end_domain(context, SHUTDOWN_crash);
  return 0;
}

}  // namespace xenopolis::hypercall::handlers
