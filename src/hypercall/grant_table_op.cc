#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {
namespace {

constexpr uint32_t kVersion = 1;

int64_t setup_table(Context& context, uint64_t argument) {
  gnttab_setup_table operation;
  if (!context.memory.read(argument, operation)) return refuse(XenErrno::kFault);
  uint64_t gfns[grant::kFrameLimit];
  if (!names_itself(context, operation.dom)) {
    operation.status = named_domain(context, operation.dom) ? GNTST_permission_denied : GNTST_bad_domain;
  } else {
    operation.status = context.grants.setup_table(context.record.domid, operation.nr_frames, gfns);
  }
  const auto list = reinterpret_cast<uint64_t>(operation.frame_list.p);
  // nr_frames is within kFrameLimit now, or the status would say so.
  if (operation.status == GNTST_okay && !context.memory.copy_out(list, gfns, operation.nr_frames * sizeof gfns[0])) {
    return refuse(XenErrno::kFault);
  }
  return context.memory.write(argument, operation) ? 0 : refuse(XenErrno::kFault);
}

int64_t query_size(Context& context, uint64_t argument) {
  gnttab_query_size operation;
  if (!context.memory.read(argument, operation)) return refuse(XenErrno::kFault);
  operation.nr_frames = operation.max_nr_frames = 0;
  if (names_itself(context, operation.dom)) {
    operation.nr_frames = context.grants.frames(context.record.domid);
    operation.max_nr_frames = context.grants.max_frames(context.record.domid);
    operation.status = GNTST_okay;
  } else {
    operation.status = named_domain(context, operation.dom) ? GNTST_permission_denied : GNTST_bad_domain;
  }
  return context.memory.write(argument, operation) ? 0 : refuse(XenErrno::kFault);
}

int64_t set_version(Context& context, uint64_t argument) {
  gnttab_set_version operation;
  if (!context.memory.read(argument, operation)) return refuse(XenErrno::kFault);
  // As Xen with gnttab=max-ver:1.
  const int64_t answer = operation.version == kVersion ? 0
                         : operation.version == 2      ? refuse(XenErrno::kNoSys)
                                                       : refuse(XenErrno::kInval);
  operation.version = kVersion;
  return context.memory.write(argument, operation) ? answer : refuse(XenErrno::kFault);
}

int64_t get_version(Context& context, uint64_t argument) {
  gnttab_get_version operation;
  if (!context.memory.read(argument, operation)) return refuse(XenErrno::kFault);
  if (!named_domain(context, operation.dom)) return refuse(XenErrno::kSrch);
  if (!names_itself(context, operation.dom)) return refuse(XenErrno::kPerm);
  operation.version = kVersion;
  return context.memory.write(argument, operation) ? 0 : refuse(XenErrno::kFault);
}

}  // namespace

// grant_table_op(command, operations, count). Guests offer pages; only Dom0 maps them, and it makes no hypercalls.
int64_t grant_table_op(Context& context, const Arguments& arguments) {
  const auto count = static_cast<uint32_t>(arguments[2]);
  switch (arguments[0]) {
    case GNTTABOP_setup_table:
      return count == 1 ? setup_table(context, arguments[1]) : refuse(XenErrno::kInval);
    case GNTTABOP_query_size:
      return count == 1 ? query_size(context, arguments[1]) : refuse(XenErrno::kInval);
    case GNTTABOP_set_version:
      return count == 1 ? set_version(context, arguments[1]) : refuse(XenErrno::kInval);
    case GNTTABOP_get_version:
      return count == 1 ? get_version(context, arguments[1]) : refuse(XenErrno::kInval);
    default:
      return refuse(XenErrno::kNoSys);
  }
}

}  // namespace xenopolis::hypercall::handlers
