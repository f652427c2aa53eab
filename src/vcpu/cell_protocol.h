// What polisd and a cell tell each other: one struct per message on a SOCK_SEQPACKET socket pair. polisd rings the
// cell's doorbell (ring_attention) after each request; replies need no bell, polisd's event loop watches the socket.
#pragma once

#include <cstdint>

#include "xen_abi/xen.h"

namespace xenopolis::vcpu {

inline constexpr size_t kMaxImagePath = 512;
inline constexpr size_t kMaxReplyText = 200;

enum class CellRequestKind : uint32_t {
  kBuild,    // build `domid` in `slot` from `image_path` and run it
  kDestroy,  // stop the domain's vCPU and forget the domain; answered by kDestroyed, also if the cell has no such
             // domain
  kQuit,     // the cell ends; its domains' vCPUs with it
};

// For kBuild the sender has filled record_of(domid) and memory_of(domid), and created the domain's event channels and
// grants.
struct CellRequest {
  CellRequestKind kind;
  DomId domid;
  uint32_t slot;                   // < kVcpusPerDoorbell, free
  char image_path[kMaxImagePath];  // kBuild; NUL-terminated
};

enum class CellReplyKind : uint32_t {
  kReady,        // the cell has started
  kBuilt,        // the domain runs: its record is kRunning and has the gfns of its xenstore and console pages
  kBuildFailed,  // there is no vCPU: `error`, `text`
  kShutdown,     // the domain has ended: `shutdown_reason`; `text` says why it crashed. Its vCPU is gone.
  kDestroyed,
};

struct CellReply {
  CellReplyKind kind;
  DomId domid;
  Gfn store_gfn;             // kBuilt
  Gfn console_gfn;           // kBuilt
  uint32_t shutdown_reason;  // kShutdown: SHUTDOWN_* of <xen/sched.h>
  int32_t error;             // kBuildFailed: errno
  char text[kMaxReplyText];  // NUL-terminated
};

}  // namespace xenopolis::vcpu
