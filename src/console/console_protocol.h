// What polisd and polis-consoled tell each other: one struct per message on a SOCK_SEQPACKET socket pair.
#pragma once

#include <cstdint>

#include "xen_abi/xen.h"

namespace xenopolis::console {

// A domain may have several consoles: 0 is that of start_info, others are devices (device/console/N in xenstore).
struct ConsoleId {
  DomId domid = 0;
  uint16_t index = 0;

  bool operator==(const ConsoleId&) const = default;
};

enum class ConsoleRequestKind : uint32_t {
  kAttach,         // bind to the console's port, and take what the guest writes
  kDetach,         // take what is left in the ring, then let go of it; the domain's memory is not touched afterwards
  kOpenTerminal,   // a pty for a client that asks for one; there may be one already
  kRename,         // the domain has another name, `name`, and its logs with it; not answered
};

struct ConsoleRequest {
  ConsoleRequestKind kind;
  ConsoleId console;
  Port remote_port;      // kAttach: in the guest
  uint32_t is_granted;   // kAttach: 1: the ring is the page that the guest grants as `grant`; 0: its frame `gfn`
  grant_ref_t grant;     // kAttach
  Gfn gfn;               // kAttach
  uint64_t incarnation;  // kAttach: differs between two domains with one number; after a restart of the daemon the same
  char name[64];         // kAttach, kRename: of the domain, NUL-terminated
};

enum class ConsoleReplyKind : uint32_t {
  kAttached,
  kAttachFailed,
  kDetached,
  kTerminalOpened,  // `path`: of the pty; or empty, with `error`
  // By itself: nobody has it open any more. Or, after kDetached, who has it open has read all, or has had the time to;
  // not if the console was attached anew meanwhile.
  kTerminalClosed,
};

struct ConsoleReply {
  ConsoleReplyKind kind;
  ConsoleId console;
  int32_t error;  // kAttachFailed, kTerminalOpened: errno
  char path[64];  // kTerminalOpened
};

}  // namespace xenopolis::console
