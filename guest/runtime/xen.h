// Xen's public ABI as a guest sees it: Debian's libxen-dev headers and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef __XEN_INTERFACE_VERSION__
#define __XEN_INTERFACE_VERSION__ 0x00040e00
#endif

extern "C" {
#include <xen/xen.h>
// in this order: the later ones use the types of xen.h
#include <xen/callback.h>
#include <xen/errno.h>
#include <xen/event_channel.h>
#include <xen/features.h>
#include <xen/grant_table.h>
#include <xen/io/console.h>
#include <xen/io/xs_wire.h>
#include <xen/memory.h>
#include <xen/physdev.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/version.h>
}

namespace xenopolis::guest {

using Port = evtchn_port_t;
inline constexpr uint64_t kPageSize = 4096;
inline constexpr unsigned kPageShift = 12;
inline constexpr domid_t kDom0 = 0;

}  // namespace xenopolis::guest
