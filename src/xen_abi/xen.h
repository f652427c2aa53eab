// Xen's public ABI, from Debian's libxen-dev, and typed views of it. Everything here is fact about Xen; nothing is ours,
// but for the numbers of the 3-level event channel ABI.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

// The newest version of the tools' interface that the headers describe.
#ifndef __XEN_INTERFACE_VERSION__
#define __XEN_INTERFACE_VERSION__ 0x00040e00
#endif

extern "C" {
#include <xen/xen.h>
// in this order: the later ones use the types of xen.h
#include <xen/arch-x86/cpuid.h>
#include <xen/callback.h>
#include <xen/elfnote.h>
#include <xen/event_channel.h>
#include <xen/features.h>
#include <xen/grant_table.h>
#include <xen/io/console.h>
#include <xen/io/xenbus.h>
#include <xen/io/xs_wire.h>
#include <xen/memory.h>
#include <xen/physdev.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/version.h>

#include "xen_abi/event_channel_3level.h"
}

#include "base/result.h"

namespace xenopolis {

// A domain's number, 0 to 32,751 (DOMID_FIRST_RESERVED is 0x7FF0, and 32,751 = 0x7FEF is the last ordinary one).
using DomId = uint16_t;
inline constexpr DomId kDom0 = 0;
inline constexpr uint32_t kDomIdCount = 0x7FF0;
static_assert(kDomIdCount == DOMID_FIRST_RESERVED);

// A domain's event channel number, valid from 1. Never 16 bits wide: FIFO has 131,072 of them, 3-level 262,144.
using Port = uint32_t;
using VcpuId = uint32_t;

// Guest frame number: guest-physical address / 4096, within one domain. Here also what the guest calls an MFN.
using Gfn = uint64_t;

inline constexpr uint64_t kPageSize = 4096;
inline constexpr uint64_t kPageShift = 12;

// What a hypercall answers a guest (as -errno): numbers of <xen/errno.h>, which are Linux's.
enum class XenErrno : int {
  kPerm = 1,
  kNoEnt = 2,
  kSrch = 3,
  kIntr = 4,
  kInval = 22,
  kBadF = 9,
  kAgain = 11,
  kNoMem = 12,
  kAcces = 13,
  kFault = 14,
  kBusy = 16,
  kExist = 17,
  kNoSpc = 28,
  kDeadlk = 35,
  kNoSys = 38,
  kTime = 62,
  kOverflow = 75,
  kOpNotSupp = 95,
  kNoBufs = 105,
};
static_assert(static_cast<int>(XenErrno::kNoSpc) == ENOSPC && static_cast<int>(XenErrno::kNoSys) == ENOSYS &&
              static_cast<int>(XenErrno::kTime) == ETIME && static_cast<int>(XenErrno::kNoBufs) == ENOBUFS);

template <class T>
using XenResult = Result<T, XenErrno>;

inline tl::unexpected<XenErrno> xen_fail(XenErrno reason) { return tl::unexpected<XenErrno>(reason); }

// In a register, because sending an event returns one.
template <>
class [[nodiscard]] Result<void, XenErrno> {
 public:
  constexpr Result() = default;  // success
  constexpr Result(tl::unexpected<XenErrno> reason) : error_(static_cast<int>(reason.value())) {}

  constexpr explicit operator bool() const { return error_ == 0; }
  constexpr bool has_value() const { return error_ == 0; }
  constexpr XenErrno error() const { return static_cast<XenErrno>(error_); }

 private:
  int error_ = 0;
};
using XenStatus = Result<void, XenErrno>;

// The value a hypercall returns in RAX.
inline int64_t to_hypercall_result(const XenStatus& status) { return status ? 0 : -static_cast<int64_t>(status.error()); }

}  // namespace xenopolis
