/*
 * The 3-level event channel ABI, which was proposed for Xen and never merged.
 *
 * What is known of it: the cover letters of Wei Liu's series "Implement 3-level event channel ABI in Xen" (xen-devel, RFC
 * V1 to V5, December 2012 to March 2013; V5 of 19 March 2013 is what this follows). They give the structure and the order
 * of registration. The header itself survives in no public tree, so every number and every structure layout here is
 * OURS, and outside of the range of operations that Xen has or may get soon.
 *
 * Structure, for 64-bit guests (a word has 64 bits):
 *
 *   level 1  evtchn_pending_sel of the vCPU's vcpu_info, one word: bit i selects word i of
 *   level 2  the vCPU's second-level selector, 64 words: bit j of word i selects word 64 * i + j of
 *   level 3  the domain's pending bitmap, 4,096 words: bit k of word w is port 64 * w + k.
 *
 * A mask bitmap of the same size lies beside the pending bitmap. An event sets the pending bit; if its mask bit is clear,
 * then the bits of level 2, level 1 and evtchn_upcall_pending, in this order. The guest clears them from the other end:
 * evtchn_upcall_pending, its word of level 1, a word of level 2, then the pending bit.
 *
 * The way from 2-level: the bitmaps are registered for the domain, which carries over what is pending and masked; then a
 * second-level selector for each vCPU, which receives no upcalls from the first to the second. EVTCHNOP_reset leads back.
 *
 * Only Dom0 and driver domains may use it, as in the series: everybody else is told that there are no extended ABIs.
 */
#ifndef XENOPOLIS_XEN_ABI_EVENT_CHANNEL_3LEVEL_H
#define XENOPOLIS_XEN_ABI_EVENT_CHANNEL_3LEVEL_H

#define EVTCHN_3L_NR_CHANNELS (64 * 64 * 64)
/* Frames of each of the two bitmaps. */
#define EVTCHN_3L_BITMAP_FRAMES 8
/* Words of a vCPU's second-level selector: 512 bytes. */
#define EVTCHN_3L_SELECTOR_WORDS 64

/*
 * EVTCHNOP_query_extended_abis: which ABIs beyond 2-level and FIFO the caller may register.
 */
#define EVTCHNOP_query_extended_abis 0x1000
struct evtchn_query_extended_abis {
  /* OUT parameters */
  uint64_t abis; /* a mask of EVTCHN_EXTENDED_* */
};

#define EVTCHN_EXTENDED_NONE 0
#define EVTCHN_EXTENDED_3LEVEL (1 << 0)

/*
 * EVTCHNOP_register_extended: one step of going over to an extended ABI.
 *
 * -ENOSYS: the caller may not use it, or the command is unknown.
 * EVTCHN_REGISTER_3L_BITMAPS: the frames of the two bitmaps, in the order of the ports; the domain changes from 2-level to
 *   3-level. Ports that the guest has no use for yet should be masked. -EINVAL: a frame that is not the caller's RAM, or
 *   named twice. -EBUSY: the domain does not speak 2-level.
 * EVTCHN_REGISTER_3L_SELECTOR: the second-level selector of one vCPU, 512 bytes within one frame, aligned to 8. Everything
 *   is selected then, so that the guest looks for what became pending before. -EOPNOTSUPP: the bitmaps come first.
 *   -ENOENT: no such vCPU. -EINVAL: a bad place, or the vCPU has a selector.
 */
#define EVTCHNOP_register_extended 0x1001
struct evtchn_register_extended {
  /* IN parameters */
  uint32_t cmd;
  uint32_t vcpu; /* EVTCHN_REGISTER_3L_SELECTOR */
  union {
    struct {
      uint64_t pending_gfns[EVTCHN_3L_BITMAP_FRAMES];
      uint64_t mask_gfns[EVTCHN_3L_BITMAP_FRAMES];
    } bitmaps;
    struct {
      uint64_t gfn;
      uint32_t offset;
    } selector;
  } u;
};

#define EVTCHN_REGISTER_3L_BITMAPS 0
#define EVTCHN_REGISTER_3L_SELECTOR 1

#endif
