// A kernel for QEMU's microvm: says a word on its serial port and halts. Entered by the PVH protocol
// (xen/arch-x86/hvm/start_info.h): 32-bit protected mode, no paging, flat segments; interrupts are off and stay off.

#define XEN_ELFNOTE_PHYS32_ENTRY 18 /* xen/elfnote.h */
#define SERIAL_PORT 0x3f8

        .code32
        .section .text
        .globl _start
_start: mov     $SERIAL_PORT, %dx
        mov     $'u', %al
        out     %al, (%dx)
        mov     $'p', %al
        out     %al, (%dx)
        mov     $'\n', %al
        out     %al, (%dx)
1:      hlt
        jmp     1b

        .section .note.xen, "a", @note
        .balign 4
        .long   4, 4, XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .balign 4
        .long   _start

        .section .note.GNU-stack, "", @progbits
