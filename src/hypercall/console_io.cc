#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {
namespace {

constexpr uint64_t kMaxWrite = 4096;

// The log is read on terminals: no control sequences from a guest.
char printable(char byte) {
  return (byte >= ' ' && byte <= '~') || byte == '\n' || byte == '\t' ? byte : '.';
}

int64_t write(Context& context, uint64_t count, uint64_t address) {
  if (count > kMaxWrite) return kTooBig;
  char text[kMaxWrite];
  if (!context.memory.copy_in(address, text, count)) return refuse(XenErrno::kFault);
  for (uint64_t i = 0; i < count; ++i) text[i] = printable(text[i]);
  if (count > 0 && context.emergency_console) context.emergency_console({text, count});
  return 0;
}

}  // namespace

// console_io(command, count, buffer): the hypervisor's own console. There is never anything to read.
int64_t console_io(Context& context, const Arguments& arguments) {
  switch (arguments[0]) {
    case CONSOLEIO_write:
      return write(context, arguments[1], arguments[2]);
    case CONSOLEIO_read:
      return 0;
    default:
      return refuse(XenErrno::kNoSys);
  }
}

}  // namespace xenopolis::hypercall::handlers
