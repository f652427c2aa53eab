/* The smallest guest that says something: one file, Xen's public headers, no run time. docs/writing-a-guest.md goes
   through it. It is C, because that is what Xen's headers speak. */
#include <stdint.h>
/* Without it Xen's headers mean the hypercalls of 2005. */
#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__
#include <xen/xen.h>

#include <xen/event_channel.h>
#include <xen/io/console.h>
#include <xen/sched.h>

/* What the domain builder wants to know: ELF notes called "Xen" (<xen/elfnote.h>). */
__asm__(
    ".macro note type, value:vararg\n"
    "  .long 4, 2f - 1f, \\type\n"
    "  .asciz \"Xen\"\n"
    "1: \\value\n"
    "2: .balign 4\n"
    ".endm\n"
    ".pushsection .note.Xen, \"a\", @note\n"
    "note 6, .asciz \"smallest\"\n"       /* GUEST_OS */
    "note 5, .asciz \"xen-3.0\"\n"        /* XEN_VERSION: of the interface */
    "note 8, .asciz \"generic\"\n"        /* LOADER */
    "note 3, .quad 0x400000\n"            /* VIRT_BASE: where guest-physical 0 is mapped */
    "note 4, .quad 0x400000\n"            /* PADDR_OFFSET: the file's p_paddr of guest-physical 0 */
    "note 1, .quad _start\n"              /* ENTRY */
    "note 2, .quad hypercall_page\n"      /* HYPERCALL_PAGE: the hypervisor writes its code there */
    ".popsection\n"
    ".text\n"
    ".globl _start\n"
    "_start: mov %rsi, %rdi\n"            /* start_info; RSP is a page of stack */
    "  call run\n"
    ".balign 4096\n"
    "hypercall_page: .skip 4096\n");

extern char hypercall_page[];

/* Call number `nr` is at nr * 32. Arguments in RDI, RSI; the answer in RAX, negative: -XEN_E... */
static long hypercall(unsigned nr, long first, void* second) {
  long result;
  __asm__ volatile("call *%[target]"
                   : "=a"(result), "+D"(first), "+S"(second)
                   : [target] "r"(hypercall_page + nr * 32)
                   : "rcx", "r11", "memory");
  return result;
}

static void say(struct xencons_interface* ring, evtchn_port_t port, const char* text) {
  XENCONS_RING_IDX end = ring->out_prod;
  for (; *text != '\0'; ++text) ring->out[MASK_XENCONS_IDX(end++, ring->out)] = *text;
  /* The text first, then the index that says that it is there: x86 keeps that order, the compiler must. */
  __asm__ volatile("" ::: "memory");
  ring->out_prod = end;
  struct evtchn_send send = {port};
  hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &send);
}

__attribute__((used)) static void run(start_info_t* info) {
  /* start_info, the xenstore ring and the console ring lie one after the other (<xen/xen.h>, "Start-of-day memory
     layout"). */
  struct xencons_interface* console = (struct xencons_interface*)((char*)info + 2 * 4096);
  say(console, info->console.domU.evtchn, "hello, I am a domain\r\n");
  /* Waits for none of no channels, for ever: it costs nothing from here on. SCHEDOP_block would return at once, because
     the console's channel is pending and not masked. */
  struct sched_poll nothing = {.nr_ports = 0, .timeout = 0};
  for (;;) hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, &nothing);
}
