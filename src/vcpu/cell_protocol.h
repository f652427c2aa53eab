// What polisd and a cell tell each other: one struct per message on a SOCK_SEQPACKET socket pair.
//
// polisd rings the cell's doorbell (Doorbells::ring_attention) after each request. Both ends are trusted and of one
// build, so the structs travel as they are in memory.
#pragma once

#include <cstdint>

#include "xen_abi/xen.h"

namespace xenopolis::vcpu {

inline constexpr size_t kMaxImagePath = 256;
inline constexpr size_t kMaxFailureText = 256;

enum class CellRequestKind : uint32_t {
  kBuild,    // the domain's record, memory, event channels and grants are prepared; build it and run it at once
  kDestroy,  // stop the domain's vCPU and forget it; answered kDestroyed even when it had ended by itself
  kQuit,
};

struct CellRequest {
  CellRequestKind kind;
  DomId domid;
  uint32_t slot;                    // kBuild: bit of the cell's doorbell, 0..63
  char image_path[kMaxImagePath];   // kBuild: NUL-terminated
};

enum class CellReplyKind : uint32_t {
  kReady,        // once, when the cell can take requests
  kBuilt,        // the vCPU exists and will run
  kBuildFailed,  // error, text; nothing of the domain is left in the cell
  kShutdown,     // the guest has ended: reason; its vCPU is gone
  kDestroyed,
};

struct CellReply {
  CellReplyKind kind;
  DomId domid;
  uint32_t shutdown_reason;  // kShutdown: SHUTDOWN_* of <xen/sched.h>
  int32_t error;             // kBuildFailed: errno
  char text[kMaxFailureText];  // kBuildFailed; kShutdown after a crash: why. NUL-terminated
};

}  // namespace xenopolis::vcpu
