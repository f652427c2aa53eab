#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {
namespace {

constexpr uint32_t kMaxIopl = 3;
constexpr uint32_t kIoPorts = 65536;

int64_t set_iopl(Context& context, uint64_t argument) {
  physdev_set_iopl request;
  if (!context.memory.read(argument, request)) return refuse(XenErrno::kFault);
  if (request.iopl > kMaxIopl) return refuse(XenErrno::kInval);
  context.vcpu.iopl = request.iopl;
  return 0;
}

int64_t set_iobitmap(Context& context, uint64_t argument) {
  physdev_set_iobitmap request;
  if (!context.memory.read(argument, request)) return refuse(XenErrno::kFault);
  return request.nr_ports <= kIoPorts ? 0 : refuse(XenErrno::kInval);
}

}  // namespace

// physdev_op(command, argument). Domains have no devices and may use no I/O port: what they allow their programs opens
// nothing, as for a domain of Xen's to which no ports were given.
int64_t physdev_op(Context& context, const Arguments& arguments) {
  switch (arguments[0]) {
    case PHYSDEVOP_set_iopl:
      return set_iopl(context, arguments[1]);
    case PHYSDEVOP_set_iobitmap:
      return set_iobitmap(context, arguments[1]);
    default:
      return refuse(XenErrno::kNoSys);
  }
}

}  // namespace xenopolis::hypercall::handlers
