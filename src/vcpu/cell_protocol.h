// What polisd and a cell tell each other: one struct per message on a SOCK_SEQPACKET socket pair. polisd rings the
// cell's doorbell (ring_attention) after each request; replies need no bell, polisd's event loop watches the socket.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "xen_abi/xen.h"

namespace xenopolis::vcpu {

inline constexpr size_t kMaxReplyText = 200;

enum class CellRequestKind : uint32_t {
  kBuild,    // build `domid` in `slot`, and run it unless its record says is_paused
  kDestroy,  // stop the domain's vCPU and forget the domain; answered by kDestroyed, also if the cell has no such
             // domain
  kPause,    // answered by kPaused, when no instruction of the guest is executed any more; its events and timers go on
  kUnpause,  // answered by kUnpaused. Both may come twice.
  kTrigger,  // an NMI for the domain's vCPU, as XEN_DOMCTL_SENDTRIGGER_NMI; answered by kTriggered
  kQuit,     // the cell ends; its domains' vCPUs with it
};

// For kBuild the sender has filled record_of(domid) and memory_of(domid), and created the domain's event channels and
// grants. The message carries descriptors (SCM_RIGHTS), because a cell opens no files: the kernel image, and after it
// the ramdisk if there is one. Their names in errors are those of the record's configuration.
struct CellRequest {
  CellRequestKind kind;
  DomId domid;
  uint32_t slot;  // < kVcpusPerDoorbell, free
};
inline constexpr size_t kMaxRequestFds = 2;

enum class CellReplyKind : uint32_t {
  kReady,        // the cell has started
  kNotStarted,   // it ends: `error`, `text`
  kBuilt,        // the domain runs: its record is kRunning and has the gfns of its xenstore and console pages
  kBuildFailed,  // there is no vCPU: `error`, `text`
  kShutdown,     // the domain has ended: `shutdown_reason`; `text` says why it crashed. Its vCPU is gone.
  kDestroyed,
  kPaused,  // these three: `error` 0, or why not, with `text`. ESRCH: the cell has no such domain, it may have ended.
  kUnpaused,
  kTriggered,  // ENXIO: the guest has no NMI callback
};

struct CellReply {
  CellReplyKind kind;
  DomId domid;
  Gfn store_gfn;             // kBuilt
  Gfn console_gfn;           // kBuilt
  uint32_t shutdown_reason;  // kShutdown: SHUTDOWN_* of <xen/sched.h>
  int32_t error;             // errno
  char text[kMaxReplyText];  // NUL-terminated
};

// What a cell says that cannot start.
CellReply not_started(const Error& why);

}  // namespace xenopolis::vcpu
