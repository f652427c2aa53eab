#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {
namespace {

constexpr uint64_t kCommandMask = 3;
// foreigndom: the domain of the mapped frames in the low half, of the tables (plus 1; 0: the same) in the high one.
constexpr unsigned kTableDomainShift = 16;

XenStatus apply(Context& context, const struct mmu_update& update) {
  const uint64_t address = update.ptr & ~kCommandMask;
  switch (update.ptr & kCommandMask) {
    case MMU_NORMAL_PT_UPDATE:
    case MMU_PT_UPDATE_NO_TRANSLATE:
      if (address % 8 != 0) return xen_fail(XenErrno::kInval);
      return context.mmu->write_entry(address, update.val, false);
    case MMU_PT_UPDATE_PRESERVE_AD:
      if (address % 8 != 0) return xen_fail(XenErrno::kInval);
      return context.mmu->write_entry(address, update.val, true);
    default:
      return context.mmu->set_m2p(address >> kPageShift, update.val);
  }
}

bool only_own_domain(const Context& context, uint64_t foreigndom) {
  const uint64_t tables = foreigndom >> kTableDomainShift;
  return names_itself(context, static_cast<uint16_t>(foreigndom)) &&
         (tables == 0 || (tables <= kDomIdCount && names_itself(context, static_cast<uint16_t>(tables - 1))));
}

}  // namespace

// mmu_update(requests, count, done, foreigndom). `done` may be null; it counts the requests before the first that
// failed.
int64_t mmu_update(Context& context, const Arguments& arguments) {
  if (context.mmu == nullptr) return refuse(XenErrno::kNoSys);
  const auto count = static_cast<uint32_t>(arguments[1]);
  if (!only_own_domain(context, arguments[3])) return refuse(XenErrno::kPerm);
  if (!take_work(context, count)) return kTooBig;
  int64_t answer = 0;
  uint32_t done = 0;
  for (; done < count; ++done) {
    struct mmu_update update;
    if (!context.memory.read(arguments[0] + done * sizeof update, update)) {
      answer = refuse(XenErrno::kFault);
    } else {
      answer = to_hypercall_result(apply(context, update));
    }
    if (answer != 0) break;
  }
  if (arguments[2] != 0 && !context.memory.write(arguments[2], done)) return refuse(XenErrno::kFault);
  return answer;
}

}  // namespace xenopolis::hypercall::handlers
