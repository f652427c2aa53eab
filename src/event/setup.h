// Which ABI a domain speaks and where its memory for that is.
#pragma once

#include "event/delivery.h"

namespace xenopolis::event {

// EVTCHNOP_init_control with the control block's address; the first one switches the domain to FIFO. The domain may use
// FIFO, the vCPU exists, `block` is aligned and whole. kInval: the vCPU has a control block. No lock held.
XenStatus install_control_block(machine::Machine& machine, DomId domid, VcpuId vcpu, evtchn_fifo_control_block* block);

// EVTCHN_REGISTER_3L_BITMAPS with the frames' addresses, distinct; the domain may use 3-level. kBusy: it does not speak
// 2-level. No lock held.
using BitmapFrames = std::array<void*, 2 * EVTCHN_3L_BITMAP_FRAMES>;  // pending, then mask
XenStatus install_bitmaps(machine::Machine& machine, DomId domid, const BitmapFrames& frames);

// EVTCHN_REGISTER_3L_SELECTOR with its address, aligned and whole; the vCPU exists. kOpNotSupp, kInval. No lock held.
XenStatus install_selector(machine::Machine& machine, DomId domid, VcpuId vcpu, xen_ulong_t* selector);

// EVTCHNOP_expand_array with the page's address. kOpNotSupp, kNoSpc. No lock held.
XenStatus add_array_page(machine::Machine& machine, DomId domid, void* page);

// Dom0 grows its event array until it has a word for `port`, with pages of the machine, all ports masked. kNoMem.
XenStatus grow_dom0_array(machine::Machine& machine, Port port);

// For the successor of a Dom0 consumer that died: takes everything off the vCPU's queues and queues anew what is
// pending, because the dead one may have taken a list's head with it. O(Dom0's ports); after a death, or before the
// first event.
void restart_dom0_queues(machine::Machine& machine, VcpuId vcpu);

// --- with the domain lock held; all can be done again after a death in the middle

// Completes a change of ABI, if one is under way.
void finish_switching(machine::Machine& machine, DomId domid);
// Back to 2-level and an empty port table. All ports are closed.
void return_to_two_level(machine::Machine& machine, DomId domid);
// Completes destroy_domain().
void finish_destroying(machine::Machine& machine, DomId domid);

}  // namespace xenopolis::event
