// What polisd and polis-consoled tell each other: one struct per message on a SOCK_SEQPACKET socket pair.
#pragma once

#include <cstdint>

#include "xen_abi/xen.h"

namespace xenopolis::console {

enum class ConsoleRequestKind : uint32_t {
  kAttach,  // bind to the domain's console port and log what it writes
  kDetach,  // take what is left in the ring, then let go of it; the domain's memory is not touched afterwards
};

struct ConsoleRequest {
  ConsoleRequestKind kind;
  DomId domid;
  Port remote_port;  // kAttach: in the guest
  Gfn console_gfn;   // kAttach
  char name[64];     // kAttach: NUL-terminated; the log is DIR/NAME.log
};

enum class ConsoleReplyKind : uint32_t { kAttached, kAttachFailed, kDetached };

struct ConsoleReply {
  ConsoleReplyKind kind;
  DomId domid;
  int32_t error;  // kAttachFailed: errno
};

}  // namespace xenopolis::console
